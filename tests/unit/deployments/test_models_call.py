"""Rows that name models: each model's rows in a message of their own, to the replica that has it."""

from collections import Counter
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray.serve.context as serve_context

from configs.errors import InvalidInput, MillraceError, NodeError, NotFound, Overloaded, RowErrors
from configs.tensors import Rows
from deployments.hop import Answer
from deployments.models_call import MOST_MODELS, ModelsCall
from deployments.ring_router import OTHERS, _ranked
from graphs.batcher import BatchTiming
from graphs.sequences import Sequence
from graphs.terms import UNHURRIED, Terms
from servables.ring import FEW, Ring


class Handle:
    """In the place of Serve's: a replica that adds the number in the model's name."""

    def __init__(self, session: str = "", calls: list[tuple[str, str, int]] | None = None) -> None:
        self._session = session
        self.calls = [] if calls is None else calls

    def options(self, session_id: str = "", **_: Any) -> "Handle":
        return Handle(session_id, self.calls)

    def remote(self, rows: Rows, count: int, *_: object) -> Awaitable[Answer | MillraceError]:
        request = serve_context._serve_request_context.get()
        self.calls.append((self._session, request._internal_request_id, count))
        return self._answer(rows, count)

    async def _answer(self, rows: Rows, count: int) -> Answer | MillraceError:
        if self._session == "busy":
            return Overloaded("model busy was not loaded in 10 s", 3)
        if not self._session.startswith("m"):
            return NotFound(f"there is no model {self._session!r}")
        if (rows["x"] < 0).any():
            return RowErrors({int(row): "negative" for row in np.flatnonzero(rows["x"] < 0)})
        if self._session == "m99":
            return {"z": rows["x"]}, BatchTiming(0, 0, {}, count)
        return {"y": rows["x"] + int(self._session[1:])}, BatchTiming(0, 0, {}, count)


async def ask(handle: Handle, models: list[str], x: list[float] | None = None, terms: Terms = UNHURRIED) -> list[float]:
    names = np.array([model.encode() for model in models], object)
    call = ModelsCall("score", handle)  # type: ignore[arg-type]
    answer, _ = await call({"model": names, "x": np.array(x or [0.0] * len(models))}, len(models), terms)
    return list(answer["y"])


async def test_rows_come_back_in_their_order() -> None:
    handle = Handle()
    assert await ask(handle, ["m3", "m1", "m3", "m2"], [0, 10, 20, 30]) == [3, 11, 23, 32]
    assert sorted((session, count) for session, _, count in handle.calls) == [("m1", 1), ("m2", 1), ("m3", 2)]


async def test_calls_are_requests_of_their_own() -> None:
    """Of two calls with one request's id, Serve's router by session forgets the second."""
    handle = Handle()
    own = serve_context._RequestContext(request_id="r", _internal_request_id="the caller's")
    token = serve_context._serve_request_context.set(own)
    try:
        await ask(handle, ["m1", "m2"])
        assert {request for _, request, _ in handle.calls} == {""}
        assert serve_context._serve_request_context.get() is own
    finally:
        serve_context._serve_request_context.reset(token)


async def test_a_sequence_changes_nothing() -> None:
    handle = Handle()
    await ask(handle, ["m1", "m2"], terms=Terms(sequence=Sequence("s", start=True, end=False)))
    assert {(session, request) for session, request, _ in handle.calls} == {("m1", ""), ("m2", "")}


async def test_outputs_that_differ_are_the_nodes_fault() -> None:
    with pytest.raises(NodeError, match="node score gave outputs that differ between the parts of a call"):
        await ask(Handle(), ["m1", "m99"])


async def test_bad_rows_are_named() -> None:
    with pytest.raises(RowErrors) as failed:
        await ask(Handle(), ["m1", "who", "m2", "m2", "../m1"], [0, 0, 0, -1, 0])
    assert failed.value.reasons == {
        1: "there is no model 'who'",
        3: "negative",
        4: "Request for unknown model: '../m1' is not found",
    }


async def test_the_only_model_and_what_is_nobodys_fault_keep_their_errors() -> None:
    for models, kind in ((["who"], NotFound), (["../m1"], NotFound), (["m1", "busy", "who"], Overloaded)):
        with pytest.raises(kind):
            await ask(Handle(), models)


async def test_a_request_names_few_models() -> None:
    handle = Handle()
    with pytest.raises(InvalidInput, match=f"name {MOST_MODELS + 1} models; send requests of at most {MOST_MODELS}"):
        await ask(handle, [f"m{n}" for n in range(MOST_MODELS + 1)])
    rows = {"model": np.array([[b"m1"]], object), "x": np.zeros(1)}
    with pytest.raises(InvalidInput, match="give one name a row"):
        await ModelsCall("score", handle)(rows, 1)  # type: ignore[arg-type]
    assert handle.calls == []


def test_a_popular_model_spreads_over_replicas_and_others_stay() -> None:
    replicas: dict[str, Any] = {f"r{n}": SimpleNamespace(name=f"r{n}") for n in range(4)}
    ring, loads = Ring(replicas.keys()), Counter[str]()
    for _ in range(4 * FEW):
        [first], *others = _ranked(replicas, ring, "popular", loads)
        assert len(others) == OTHERS
        loads[first.name] += 1
    assert len(loads) >= 3
    quiet = _ranked(replicas, ring, "popular", Counter())
    assert quiet == _ranked(replicas, ring, "popular", Counter())
