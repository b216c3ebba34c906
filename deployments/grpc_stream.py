"""Several requests of one stream at the same time: their answers leave as they come, each request's in order."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_AT_ONCE = 64
"""Requests of one stream that are worked on; the next are not read, so gRPC's flow control holds the client back."""
MOST_UNSENT = 16
"""Answers that wait for a slow reader; beyond them, graphs that stream wait too."""


@dataclass(frozen=True, slots=True)
class Begun(Generic[T]):
    """A request that was read."""

    answers: AsyncGenerator[T, None]
    in_turn: bool
    """Whether its answers wait for those of earlier requests in turn, as Triton's do for models with one answer."""


Begin = Callable[[bytes], Awaitable[Begun[T]]]


class _Interleaved(Generic[T]):
    def __init__(self, begin: Begin[T]) -> None:
        self._begin = begin
        self.answers: asyncio.Queue[T | None] = asyncio.Queue()
        self.room = asyncio.Semaphore(MOST_UNSENT)
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    async def read(self, requests: AsyncIterator[bytes]) -> None:
        """Begin each request as it comes; ends when all are answered."""
        before = asyncio.Event()
        before.set()
        try:
            async with asyncio.TaskGroup() as group:
                async for request in requests:
                    await self._slots.acquire()
                    begun = await self._begin(request)
                    if begun.in_turn:
                        done = asyncio.Event()
                        group.create_task(self._answer(begun.answers, before, done))
                        before = done
                    else:
                        group.create_task(self._answer(begun.answers, None, asyncio.Event()))
        finally:
            self.answers.put_nowait(None)

    async def _answer(
        self, answers: AsyncGenerator[T, None], before: asyncio.Event | None, done: asyncio.Event
    ) -> None:
        try:
            async with aclosing(answers):
                async for answer in answers:
                    if before is not None:
                        await before.wait()
                    await self.room.acquire()
                    self.answers.put_nowait(answer)
        finally:
            done.set()
            self._slots.release()


async def interleave(requests: AsyncIterator[bytes], begin: Begin[T]) -> AsyncGenerator[T, None]:
    """Answers to the requests of a stream. Closing this generator cancels what is under way.

    Args:
        begin: reads a request, before the next is taken. Neither it nor the answers may raise: an error is an answer.
    """
    work = _Interleaved(begin)
    reader = asyncio.create_task(work.read(requests))
    try:
        while (answer := await work.answers.get()) is not None:
            yield answer
            work.room.release()
        await reader
    finally:
        reader.cancel()
        await asyncio.wait([reader])
