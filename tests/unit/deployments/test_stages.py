"""Stages of placed versions against a Serve that only remembers what it is told."""

import asyncio
import logging
from pathlib import Path

import pytest
from ray.serve.schema import ApplicationStatus

from configs.errors import ModelError
from configs.graph import CallNode
from configs.node_options import Batch
from deployments import stages
from deployments.stage import StageSpec, application_of, version_of
from deployments.stages import Stages
from graphs.flat import FlatNode
from rollouts.life import Key
from tests.unit.deployments.fake_serve import OWNER, FakeServe

RUNNING, DEPLOYING = ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING
FAILED, DELETING = ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.DELETING
KEY = Key("g.n", 3, "0123456789ab")
NAME = application_of(OWNER, KEY)


def spec(node: str = "n", graph: str = "g", revision: str = "") -> StageSpec:
    config = CallNode(call="tests.support.nodes:Add", isolate=True)  # type: ignore[call-arg]
    return StageSpec(graph, FlatNode(node, config, {}), Path("/"), Batch(), revision)  # type: ignore[call-arg]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> FakeServe:
    serve = FakeServe()
    monkeypatch.setattr(stages, "serve", serve)
    monkeypatch.setattr(stages, "POLL_S", 0.001)
    return serve


async def test_a_stage_that_is_there_is_not_deployed_again(serve: FakeServe) -> None:
    """That would restart its replicas."""
    for _ in range(2):
        await Stages(OWNER).deploy(spec(), KEY)
    assert serve.deployed == [NAME]
    serve.put(NAME, FAILED)
    await Stages(OWNER).deploy(spec(), KEY)
    assert serve.deployed == [NAME, NAME]


async def test_a_stage_that_still_goes_is_waited_for(serve: FakeServe) -> None:
    serve.put(NAME, DELETING)
    deploying = asyncio.create_task(Stages(OWNER).deploy(spec(), KEY))
    await serve.asked_again()
    assert serve.deployed == []
    del serve.applications[NAME]
    await deploying
    assert serve.deployed == [NAME]


async def test_why_a_stage_did_not_start(serve: FakeServe) -> None:
    serve.put(NAME, FAILED, "failed 3 times. Error:\n  File x.py\nModelError: node n: no such file")
    with pytest.raises(ModelError, match=r"stage shop\.g\.n\.3-\w+ did not start: ModelError: node n: no"):
        await Stages(OWNER).wait(KEY)
    del serve.applications[NAME]
    with pytest.raises(ModelError, match="somebody deleted its application"):
        await Stages(OWNER).wait(KEY)


async def test_the_log_says_what_a_stage_waits_for(
    serve: FakeServe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stages, "TELL_PERIOD_S", 0)
    monkeypatch.setattr(stages.logger, "propagate", True)
    serve.put(NAME, DEPLOYING, 'takes long to be scheduled. Resources: {"GPU": 1}')
    with caplog.at_level(logging.WARNING):
        waiting = asyncio.create_task(Stages(OWNER).wait(KEY))
        await serve.asked_again()
        serve.put(NAME, RUNNING)
        await waiting
    assert caplog.messages
    assert all("is not up yet: takes long to be scheduled" in message for message in caplog.messages)


async def test_a_stage_that_failed_comes_back_if_it_has_the_traffic_and_is_else_there_to_be_deleted(
    serve: FakeServe,
) -> None:
    serve.put(NAME, FAILED)
    assert await Stages(OWNER).look(frozenset()) == ({KEY}, 0)
    assert await Stages(OWNER).look(frozenset({KEY})) == (frozenset(), 0)
    await Stages(OWNER).delete(KEY)
    await Stages(OWNER).delete(KEY)
    assert set(serve.applications) == {OWNER}


async def test_only_its_own_stages_are_seen_and_deleted(serve: FakeServe) -> None:
    others = [
        f"{OWNER}.web",
        f"{OWNER}.eu.g.n.1-0123456789ab",
        f"{OWNER}2.g.n.1-0123456789ab",
        f"{OWNER}.g.n.next-0123456789ab",
        f"{OWNER}.g.n.3-0123456789ab.old",
    ]
    for name in [*others, f"{OWNER}.my-graph.sub-node.3-0123456789ab"]:
        serve.put(name, RUNNING)
    assert await Stages(OWNER).look(frozenset()) == ({Key("my-graph.sub-node", 3, "0123456789ab")}, 0)
    await Stages(OWNER).delete_all_without_owner()
    assert len(serve.applications) == len(others) + 2
    serve.put(OWNER, DELETING)
    await Stages(OWNER).delete_all_without_owner()
    assert set(serve.applications) == {OWNER, *others}


def test_a_stages_digest_changes_with_all_that_decides_it() -> None:
    specs = [spec(), spec(revision="2")]
    assert len({each.digest(content) for each in specs for content in ("a", "b")}) == 4
    assert spec().digest("a") == spec().digest("a")
    assert version_of(OWNER, NAME) == KEY
