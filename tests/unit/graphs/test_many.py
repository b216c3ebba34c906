"""A node of many models: who is asked for is loaded, who was used longest ago leaves, new versions take over."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from configs.errors import ConfigError, DeadlineExceeded, InvalidInput, ModelError, NodeError, NotFound, Overloaded
from configs.tensors import Rows
from graphs.check import check_graph
from graphs.many import ManyModels
from graphs.terms import UNHURRIED, Terms
from graphs.trial import try_file
from servables.base import LoadOptions
from servables.memory import Memory
from tests.support.graphs import config
from tests.support.pages import snippets

SIZE = 2_000_000
"""Bytes of each model's files, about."""


def publish(root: Path, model: str, version: int = 1, amount: float = 1.0, **manifest: Any) -> Path:
    """A model that adds, with a file that gives it a size."""
    folder = root / "models" / model / str(version)
    folder.mkdir(parents=True)
    manifest = {"module": "tests.support.nodes:Add", "kwargs": {"amount": amount}, **manifest}
    (folder / "weights.bin").write_bytes(bytes(SIZE))
    (folder / "signature.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(autouse=True)
def _quiet_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version without digests counts as soon as it is there."""
    monkeypatch.setattr("servables.versions.QUIET_S", 0.0)


@asynccontextmanager
async def many(root: Path, fit: float = 10, **fields: Any) -> AsyncIterator[ManyModels]:
    """The node, in whose memory so many models fit."""
    node = {"models": "models", "inputs": {"model": "tenant", "x": "x"}, "max_bytes": int(fit * SIZE), **fields}
    inputs = {"tenant": "BYTES[-1]", "x": "FP32[-1, 2]"}
    graph = check_graph(config({"score": node}, {"y": "score.y"}, inputs=inputs), root).flat
    made = ManyModels(graph.nodes["score"], root, LoadOptions())
    try:
        yield made
    finally:
        await made.close()


def rows(model: str) -> Rows:
    """One row of zeros."""
    return {"model": np.array([model.encode()], object), "x": np.zeros((1, 2), np.float32)}


async def ask(models: ManyModels, model: str, terms: Terms = UNHURRIED) -> float:
    """What a model adds to zero."""
    outputs, _ = await models(rows(model), 1, terms)
    return float(outputs["y"][0, 0])


async def test_each_answers_and_the_least_recently_used_leave(tmp_path: Path) -> None:
    for number in range(5):
        publish(tmp_path, f"m{number}", amount=number)
    async with many(tmp_path, fit=2.5) as models:
        assert [await ask(models, f"m{number}") for number in (0, 1, 0, 2, 0, 3, 4)] == [0, 1, 0, 2, 0, 3, 4]
        assert [pick.model for pick in models.loaded] == ["m3", "m4"]
        assert models.taken.fits(Memory(host=int(2.5 * SIZE)))
        assert (models.counts.hits, models.counts.loads, models.counts.evictions) == (2, 5, 3)


async def test_the_signature_is_that_of_the_first_that_loads(tmp_path: Path) -> None:
    publish(tmp_path, "broken", module="tests.support.nodes:Nope")
    publish(tmp_path, "good")
    async with many(tmp_path) as models:
        signature = await models.signature()
        assert signature.inputs is not None
        assert signature.outputs is not None
        assert {name: str(spec) for name, spec in signature.inputs.items()} == {
            "model": "BYTES[-1]",
            "x": "FP32[-1, 2]",
        }
        assert list(signature.outputs) == ["y"]


async def test_none_that_loads_and_no_declared_outputs(tmp_path: Path) -> None:
    publish(tmp_path, "broken", module="tests.support.nodes:Nope")
    async with many(tmp_path) as models:
        with pytest.raises(ModelError, match=r"no model loads, and the node declares no `outputs`: .*Nope"):
            await models.signature()


@pytest.mark.parametrize("name", ["nobody", "", "../models", "a/b", ".hidden", "x" * 1000])
async def test_unknown_models_are_not_found(tmp_path: Path, name: str) -> None:
    publish(tmp_path, "m")
    async with many(tmp_path) as models:
        with pytest.raises(NotFound, match="Request for unknown model"):
            await ask(models, name)


async def test_one_that_is_not_like_the_others_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, "a")
    publish(tmp_path, "other", module="tests.support.nodes:SumColumns", kwargs={})
    async with many(tmp_path) as models:
        await models.signature()
        with pytest.raises(NodeError, match=r"model other/1 has the (in|out)puts .*all of them must be alike"):
            await ask(models, "other")


async def test_a_new_version_takes_over_and_its_removal_brings_the_old_one_back(tmp_path: Path) -> None:
    publish(tmp_path, "m", 1, amount=1)
    async with many(tmp_path) as models:
        assert await ask(models, "m") == 1
        new = publish(tmp_path, "m", 2, amount=2)
        await models.look()
        assert await ask(models, "m") == 2
        assert [pick.number for pick in models.loaded] == [2]
        shutil.rmtree(new)
        await models.look()
        assert await ask(models, "m") == 1
        shutil.rmtree(tmp_path / "models" / "m")
        await models.look()
        with pytest.raises(NotFound):
            await ask(models, "m")


async def test_a_version_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    publish(tmp_path, "m", 1, amount=1)
    async with many(tmp_path) as models:
        await ask(models, "m")
        publish(tmp_path, "m", 2, module="tests.support.nodes:Nope")
        await models.look()
        assert await ask(models, "m") == 1
    async with many(tmp_path) as models:  # nor is it in the way of who finds both
        assert await ask(models, "m") == 1


async def test_a_version_that_does_not_go_with_the_graph_is_passed_over(tmp_path: Path) -> None:
    publish(tmp_path, "m", 1, amount=1)
    publish(tmp_path, "m", 2, module="tests.support.nodes:Gated", kwargs={})
    async with many(tmp_path) as models:
        assert await ask(models, "m") == 1


async def test_rows_that_a_model_does_not_take_are_refused(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    async with many(tmp_path, outputs={"y": "FP32[-1, 2]"}) as models:
        with pytest.raises(InvalidInput, match=r"takes x as FP32\[-1, 2\], but it is FP32\[-1, 3\]"):
            await models({"model": np.array([b"m"], object), "x": np.zeros((1, 3), np.float32)}, 1)


async def test_a_start_waits_for_its_first_model_however_long(tmp_path: Path) -> None:
    publish(tmp_path, "m", module="tests.support.nodes:SlowToLoad", kwargs={"seconds": 0.3})
    async with many(tmp_path, batch={"max_wait_s": 0.05}) as models:
        assert (await models.signature()).outputs is not None


async def test_a_new_version_for_which_there_is_no_room_beside_the_old_one(tmp_path: Path) -> None:
    publish(tmp_path, "m", 1, amount=1, kwargs={"amount": 1, "sleep_s": 0.05})
    async with many(tmp_path, fit=1.5, batch={"max_wait_s": 0.2}) as models:
        await ask(models, "m", Terms.within(60))
        publish(tmp_path, "m", 2, amount=2)
        asking = True

        async def keep_asking() -> list[float]:
            return [await ask(models, "m", Terms.within(60)) for _ in iter(lambda: asking, False)]

        clients = [asyncio.create_task(keep_asking()) for _ in range(3)]  # one of them always uses it
        await models.look()
        while (await ask(models, "m", Terms.within(60))) != 2:
            pass
        asking = False
        for answers in await asyncio.gather(*clients):
            assert sorted(answers) == answers


async def test_an_unknown_model_is_not_looked_for_again_at_once(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    async with many(tmp_path) as models:
        with pytest.raises(NotFound):
            await ask(models, "later")
        publish(tmp_path, "later")
        with pytest.raises(NotFound):
            await ask(models, "later")
        models._clock = lambda: time.monotonic() + 60
        assert await ask(models, "later") == 1


async def test_who_asks_at_the_same_time_shares_a_load(tmp_path: Path) -> None:
    publish(tmp_path, "m", amount=3)
    async with many(tmp_path) as models:
        assert set(await asyncio.gather(*(ask(models, "m") for _ in range(20)))) == {3}
        assert models.counts.loads == 1


async def test_a_model_in_use_never_leaves_and_who_finds_no_room_hears_so(tmp_path: Path) -> None:
    publish(tmp_path, "slow", amount=5, kwargs={"amount": 5, "sleep_s": 1.0})
    publish(tmp_path, "m")
    async with many(tmp_path, fit=1.5, batch={"max_wait_s": 0.1}) as models:
        waiting = asyncio.create_task(ask(models, "slow", Terms.within(60)))
        while not models.loaded:  # noqa: ASYNC110  a pool tells nobody
            await asyncio.sleep(0.005)
        with pytest.raises(DeadlineExceeded):
            await ask(models, "m", Terms.within(0.05))
        with pytest.raises(Overloaded, match="found no room"):
            await ask(models, "m")
        assert await waiting == 5
        assert await ask(models, "m") == 1


def test_a_models_node_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for fields, message in (
        ({"inputs": {"x": "x"}}, "the input `model` is missing"),
        ({"cache": {}}, "remove cache"),
        ({"models": "s3://bucket/models"}, "give `outputs`"),
    ):
        node = {"models": "models", "inputs": {"model": "tenant", "x": "x"}, **fields}
        with pytest.raises(Exception, match=message):
            config({"score": node}, {"y": "score.y"}, inputs={"tenant": "BYTES[-1]", "x": "FP32[-1, 2]"})


def test_the_node_of_the_page(tmp_path: Path) -> None:
    [text] = snippets("docs/models.md", "models node", "yaml")
    (tmp_path / "models/tenants").mkdir(parents=True)
    inputs = {"tenant": "BYTES[-1]", "x": "FP32[-1, 2]"}
    graph = check_graph(config(yaml.safe_load(text), {"score": "score.score"}, inputs=inputs), tmp_path).flat
    assert graph.model_input == "tenant"
    assert graph.nodes["score"].config.placed


def test_a_file_is_tried_with_one_of_its_models(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    node = {"models": "models", "inputs": {"model": "tenant", "x": "x"}}
    graph = {"name": "t", "inputs": {"tenant": "BYTES[-1]", "x": "FP32[-1, 3]"}}
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump({**graph, "nodes": {"score": node}, "outputs": {"y": "score.y"}}))
    with pytest.raises(ConfigError, match=r"nodes.score.inputs.x: takes FP32\[-1, 2\], but x is FP32\[-1, 3\]"):
        try_file(path, tmp_path)
    publish(tmp_path, "a", module="tests.support.nodes:SumColumns", kwargs={})
    with pytest.raises(ConfigError, match="score has no output y; it gives sum"):
        try_file(path, tmp_path)
