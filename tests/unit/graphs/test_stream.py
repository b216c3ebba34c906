"""Nodes that give several answers: a generator that blocks is left, and closed, without harm."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing

import numpy as np
import pytest

from configs.tensors import Rows, Signature
from graphs.instances import Instance
from graphs.stream import stream

ROWS = {"x": np.ones(1, np.float32)}


class Blocking:
    """A generator whose second step takes until it is let go."""

    def __init__(self) -> None:
        self.blocks, self.go, self.closed = threading.Event(), threading.Event(), threading.Event()
        self.instance = Instance("slow", self.answers, Signature())

    def answers(self, rows: Rows) -> Iterator[Rows]:
        try:
            yield rows
            self.blocks.set()
            self.go.wait(5)
            yield rows
        finally:
            self.closed.set()

    async def listen(self) -> None:
        async for _ in stream(self.instance, ROWS):
            pass


async def test_a_deadline_passes_while_a_generator_blocks() -> None:
    node = Blocking()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await node.listen()
    assert node.blocks.is_set()
    assert not node.closed.is_set()
    node.go.set()
    assert await asyncio.to_thread(node.closed.wait, 5)


async def test_who_is_cancelled_while_a_generator_blocks_is_cancelled_at_once() -> None:
    node = Blocking()
    listener = asyncio.create_task(node.listen())
    await asyncio.to_thread(node.blocks.wait, 5)
    listener.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listener
    node.go.set()
    assert await asyncio.to_thread(node.closed.wait, 5)


async def test_who_stops_listening_between_two_answers_closes_the_generator() -> None:
    node = Blocking()
    async with aclosing(stream(node.instance, ROWS)) as answers:
        assert (await anext(answers))["x"] is ROWS["x"]
    assert node.closed.is_set()
    assert not node.blocks.is_set()
