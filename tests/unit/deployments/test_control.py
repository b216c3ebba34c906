"""Control against a Serve that only remembers what it is told."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
)

from configs.errors import ModelError
from configs.graph import CallNode
from configs.node_options import Batch
from deployments import control
from deployments.control import Control, stage_names
from deployments.stage import StageSpec, is_stage
from graphs.flat import FlatNode

RUNNING, DEPLOYING = ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING
FAILED, DELETING = ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.DELETING
OWNER = "shop"


def spec(node: str = "n", graph: str = "g", revision: str = "") -> StageSpec:
    config = CallNode(call="tests.support.nodes:Add", isolate=True)  # type: ignore[call-arg]
    return StageSpec(graph, FlatNode(node, config, {}), "", Path("/"), Batch(), revision)  # type: ignore[call-arg]


class Serve:
    """In the place of `ray.serve`: new applications get the status `becomes`, deleted ones vanish."""

    def __init__(self) -> None:
        self.applications: dict[str, ApplicationStatusOverview] = {}
        self.becomes, self.message = RUNNING, ""
        self.deployed: list[list[str]] = []
        self.asked = 0
        self.put(OWNER, RUNNING)

    def put(self, name: str, status: ApplicationStatus, message: str = "") -> None:
        trigger = DeploymentStatusTrigger.UNSPECIFIED
        stage = DeploymentStatusOverview(DeploymentStatus.UPDATING, trigger, {}, message)
        self.applications[name] = ApplicationStatusOverview(status, "", 0, {"stage": stage})

    def get_replica_context(self) -> SimpleNamespace:
        return SimpleNamespace(app_name=OWNER)

    def status(self) -> SimpleNamespace:
        self.asked += 1
        return SimpleNamespace(applications=dict(self.applications))

    def run_many(self, targets: list[Any], *, wait_for_applications_running: bool) -> None:
        assert not wait_for_applications_running
        self.deployed.append([target.name for target in targets])
        for target in targets:
            self.put(target.name, self.becomes, self.message)

    def delete(self, name: str, *, _blocking: bool) -> None:
        del self.applications[name]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    serve = Serve()
    monkeypatch.setattr(control, "serve", serve)
    monkeypatch.setattr(control, "POLL_S", 0.001)
    monkeypatch.setattr(control, "RECONCILE_PERIOD_S", 0.001)
    return serve


class Collected(Control):
    """Python would call `__del__` once more, and nobody would await it."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


@asynccontextmanager
async def started(*specs: StageSpec, log_level: str = "INFO") -> AsyncIterator[Control]:
    running = Collected.__new__(Collected)  # as Serve does: `__init__` is a coroutine
    await running.__init__(specs, log_level)  # type: ignore[misc]
    try:
        yield running
    finally:
        await Control.__del__(running)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_all_stages_are_deployed_in_one_call_and_routed(serve: Serve) -> None:
    specs = [spec("a"), spec("b")]
    names = [each.application(OWNER) for each in specs]
    async with started(*specs) as running:
        assert await running.routes(stage_names(specs)) == {("g", "a"): names[0], ("g", "b"): names[1]}
        assert await running.routes(stage_names(specs[:1])) is None
    assert serve.deployed == [names]


async def test_a_control_that_is_restarted_reconciles_unasked_and_repeats_nothing(serve: Serve) -> None:
    wanted, lost, unwanted = (each.application(OWNER) for each in (spec("a"), spec("b"), spec("c")))
    serve.put(wanted, RUNNING)
    serve.put(unwanted, RUNNING)
    async with started(spec("a"), spec("b")):
        await until(lambda: set(serve.applications) == {OWNER, wanted, lost})
    assert serve.deployed == [[lost]]


async def test_a_stage_that_fails_or_is_deleted_later_comes_back(serve: Serve) -> None:
    name = spec().application(OWNER)
    async with started(spec()) as running:
        await running.routes(stage_names([spec()]))
        serve.put(name, FAILED)
        await until(lambda: len(serve.deployed) == 2)
        del serve.applications[name]
        await until(lambda: len(serve.deployed) == 3)


async def test_only_stages_of_its_own_are_deleted(serve: Serve) -> None:
    others = [
        f"{OWNER}.web",
        f"{OWNER}.eu.g.n.code-0123abcd",
        f"{OWNER}2.g.n.code-0123abcd",
        f"{OWNER}.g.n.next-0123abcd",
        f"{OWNER}.g.n.3-0123abcd.old",
    ]
    for name in [*others, old := f"{OWNER}.my-graph.sub-node.3-0123abcd"]:
        serve.put(name, RUNNING)
    async with started():
        await until(lambda: old not in serve.applications)
    assert set(others) < set(serve.applications)


async def test_nothing_is_deleted_while_an_update_is_under_way(serve: Serve) -> None:
    serve.put(old := f"{OWNER}.g.n.3-0123abcd", RUNNING)
    serve.put(OWNER, DEPLOYING)
    async with started():
        asked = serve.asked
        await until(lambda: serve.asked > asked + 5)
        assert old in serve.applications


async def test_the_stages_go_with_the_application(serve: Serve) -> None:
    async with started(spec()) as running:
        await running.routes(stage_names([spec()]))
        serve.put(OWNER, DELETING)
    assert set(serve.applications) == {OWNER}


async def test_a_failure_is_told_with_its_reason_and_tried_again_later(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve.becomes, serve.message = FAILED, "failed 3 times. Error:\n  File x.py\nModelError: node n: no such file"
    monkeypatch.setattr(control, "RECONCILE_PERIOD_S", 60)
    wanted = stage_names([spec()])
    async with started(spec()) as running:
        for _ in range(2):
            with pytest.raises(ModelError, match=r"stage shop\.g\.n\.code-\w+ did not start: ModelError: node n: no"):
                await running.routes(wanted)
        assert len(serve.deployed) == 1
        serve.becomes = RUNNING
        monkeypatch.setattr(control, "FAILURE_HOLDS_S", 0)
        assert await running.routes(wanted) == {("g", "n"): spec().application(OWNER)}


async def test_a_stage_that_still_goes_is_waited_for(serve: Serve) -> None:
    name = spec().application(OWNER)
    serve.put(name, DELETING)
    async with started(spec()) as running:
        await until(lambda: serve.asked > 3)
        assert serve.deployed == []
        del serve.applications[name]
        await running.routes(stage_names([spec()]))
    assert serve.deployed == [[name]]


async def test_the_log_says_what_stages_wait_for_and_serve_is_asked_once_for_all(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control, "TELL_PERIOD_S", 0)
    monkeypatch.setattr(control.logger, "propagate", True)
    serve.becomes, serve.message = DEPLOYING, 'takes long to be scheduled. Resources: {"GPU": 1}'
    specs = [spec(name) for name in "abcde"]
    async with started(*specs, log_level="WARNING") as running:
        await until(lambda: len(serve.deployed) == 1)
        before = serve.asked
        await until(lambda: len(caplog.messages) >= 10)
        assert serve.asked - before <= 5
        for each in specs:
            serve.put(each.application(OWNER), RUNNING)
        await running.routes(stage_names(specs))
    assert all("is not up yet: takes long to be scheduled" in message for message in caplog.messages)  # none at INFO
    assert control.logger.level == logging.WARNING


def test_a_stages_name_is_its_own_and_changes_with_all_that_decides_it() -> None:
    specs = [spec(), spec("other"), spec("sub/n"), spec(graph="my-graph"), spec(revision="2")]
    names = {each.application(OWNER) for each in specs}
    assert len(names) == len(specs)
    assert all(is_stage(OWNER, name) for name in names)
    assert spec().application(OWNER) == spec().application(OWNER)
