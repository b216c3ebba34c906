"""Requests of one sequence take turns, and an id is no place to store things."""

import asyncio

import numpy as np
import pytest

from configs.errors import DeadlineExceeded, InvalidInput
from configs.tensors import Rows
from deployments.answering import Answering
from deployments.protocols.request import InferRequest
from deployments.protocols.terms import LONGEST_ID, terms_of
from graphs.run import Trace
from graphs.sequences import Sequence
from graphs.terms import Terms
from tests.unit.deployments.doors import gateway

ASKED = InferRequest("g", "", "", {"x": np.ones((1, 1), np.float32)}, {}, None, False)


class Slow:
    """A graph that answers when it is let go."""

    def __init__(self) -> None:
        self.answering, _ = gateway()
        self.service, self.go, self.calls = self.answering.service("g"), asyncio.Event(), 0
        self.service.executor.run = self._run  # type: ignore[method-assign]

    async def _run(self, rows: Rows, count: int, terms: Terms) -> tuple[Rows, Trace]:
        self.calls += 1
        await self.go.wait()
        return rows, Trace()

    def ask(self, door: Answering, terms: Terms) -> "asyncio.Task[object]":
        return asyncio.create_task(door.infer(self.service, ASKED, terms))


async def test_who_waits_for_its_turn_waits_until_its_deadline() -> None:
    graph = Slow()
    first = graph.ask(graph.answering, Terms(sequence=Sequence(1)))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        await graph.ask(graph.answering, Terms.within(0.01, sequence=Sequence(1)))
    assert (graph.calls, first.done()) == (1, False)
    third = graph.ask(graph.answering, Terms.within(5, sequence=Sequence(1)))
    graph.go.set()
    await asyncio.gather(first, third)
    assert graph.calls == 2


def test_a_sequence_id_is_as_short_as_tritons() -> None:
    name = "x" * LONGEST_ID
    assert terms_of({"sequence_id": name}).sequence == Sequence(name)
    with pytest.raises(InvalidInput, match="has 129 characters; send at most 128"):
        terms_of({"sequence_id": name + "x"})
