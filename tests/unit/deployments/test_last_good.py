"""A deploy that failed is undone by itself, after a while, and only if something better is known."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.serve.schema import ApplicationStatus

from deployments import last_good
from deployments.app import graph_texts
from deployments.last_good import Deployed, LastGood
from rollouts.store import StateStore

RUNNING, FAILED = ApplicationStatus.RUNNING, ApplicationStatus.DEPLOY_FAILED
GOOD = {"name": "shop", "import_path": "deployments.app:build", "args": {"graphs": ["g.yaml"]}}
BAD = {**GOOD, "args": {"graphs": ["g.yaml"], "revision": "2"}}


class Serve:
    """Has one application, and notes what is deployed."""

    def __init__(self) -> None:
        self.deployed: Deployed | None = Deployed(RUNNING, "", GOOD)
        self.again: list[Any] = []

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    serve = Serve()
    monkeypatch.setattr(last_good, "LOOK_PERIOD_S", 0)
    monkeypatch.setattr(last_good, "GRACE_S", 0)
    monkeypatch.setattr(last_good, "_deployed", lambda name: serve.deployed)
    monkeypatch.setattr(last_good, "_deploy", serve.again.append)
    return serve


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(f"sqlite:///{tmp_path / 'state.sqlite'}")
    yield store
    store.close()


def control(store: StateStore, serve: Serve, text: str) -> LastGood:
    return LastGood(store, serve.call, "shop", {"g.yaml": text})


async def test_the_last_configuration_that_was_up_comes_back_with_its_files(serve: Serve, store: StateStore) -> None:
    await control(store, serve, "name: g").look(complete=True)
    serve.deployed = Deployed(FAILED, "no such node", BAD)
    failing = control(store, serve, "name: other")
    await failing.look(complete=False)
    [again] = serve.again
    assert again["args"] == {"graphs": ["g.yaml"], "graph_texts": {"g.yaml": "name: g"}}
    serve.deployed = Deployed(RUNNING, "", again)
    await control(store, serve, "name: g").look(complete=True)
    kept = json.loads(store.last_configuration() or "")
    assert kept == {"application": GOOD, "texts": {"g.yaml": "name: g"}}


async def test_nothing_is_kept_before_all_is_up_and_what_was_up_is_not_deployed_again(
    serve: Serve, store: StateStore
) -> None:
    only = control(store, serve, "name: g")
    await only.look(complete=False)
    assert store.last_configuration() is None
    serve.deployed = Deployed(FAILED, "the first deploy", GOOD)
    await only.look(complete=False)
    serve.deployed = Deployed(RUNNING, "", GOOD)
    await only.look(complete=True)
    serve.deployed = Deployed(FAILED, "a machine is gone", GOOD)
    await only.look(complete=True)
    assert serve.again == []


async def test_a_failure_stays_for_a_while_and_a_better_deploy_is_left_alone(
    serve: Serve, store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_good, "GRACE_S", 60)
    await control(store, serve, "name: g").look(complete=True)
    failing = control(store, serve, "name: g")
    for status in (FAILED, FAILED, ApplicationStatus.DEPLOYING, RUNNING):
        serve.deployed = Deployed(status, "", BAD)
        await failing.look(complete=False)
    assert serve.again == []


@pytest.mark.parametrize("deployed", [None, Deployed(FAILED, "", None)])
async def test_what_was_deployed_from_python_stays(serve: Serve, store: StateStore, deployed: Deployed | None) -> None:
    await control(store, serve, "name: g").look(complete=True)
    serve.deployed = deployed
    await control(store, serve, "name: g").look(complete=True)
    assert serve.again == []


def test_sub_graphs_files_are_kept_too(tmp_path: Path) -> None:
    inner = "name: inner\ninputs: {x: 'FP32[-1]'}\nnodes: {n: {call: 'm:f', inputs: {x: x}}}\noutputs: {y: n.y}\n"
    outer = "name: outer\ninputs: {x: 'FP32[-1]'}\nnodes: {s: {graph: inner.yaml, inputs: {x: x}}}\noutputs: {y: s.y}\n"
    (tmp_path / "inner.yaml").write_text(inner)
    texts = {tmp_path / "outer.yaml": outer}  # its file is gone meanwhile
    assert graph_texts(["outer.yaml"], tmp_path, texts) == {"outer.yaml": outer, "inner.yaml": inner}
