"""Gather rows of concurrent requests into one call: at once when idle, as many as came while busy."""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from configs.errors import MillraceError, NodeError, Unavailable

K = TypeVar("K", bound=object)
Arrays = dict[K, np.ndarray]
BatchCall = Callable[[dict[K, np.ndarray], int], tuple[dict[K, np.ndarray], dict[str, float]]]
"""Arrays and row count in; arrays with as many rows, and seconds by node, out. May block."""

CPU_BATCH_BYTES = 1 << 20
"""Most bytes put together for a call on a CPU."""


@dataclass(slots=True)
class BatchTiming:
    """Where one item's time went, in seconds, and how large its batch was, in rows."""

    queue_s: float
    """From arrival until the worker took the item."""
    batch_s: float
    """From being taken until the call: putting rows together."""
    compute_s: dict[str, float]
    """Seconds of the call by node."""
    rows: int
    leads: bool = True
    """Whether the item was the oldest of its call: what is counted per call is counted at it."""


@dataclass(slots=True, eq=False)
class _Item(Generic[K]):
    arrays: dict[K, np.ndarray]
    count: int
    bytes: int
    future: "asyncio.Future[tuple[dict[K, np.ndarray], BatchTiming]]"
    arrived: float

    def shape(self) -> tuple[tuple[K, np.dtype, tuple[int, ...]], ...]:
        """Items may share a call only if their arrays differ in rows alone."""
        return tuple((key, array.dtype, array.shape[1:]) for key, array in self.arrays.items())


@dataclass(slots=True)
class _Outcome(Generic[K]):
    item: _Item[K]
    answer: tuple[dict[K, np.ndarray], BatchTiming] | None
    error: BaseException | None


class Batcher(Generic[K]):
    """Calls a blocking function in one thread of its own, never on the event loop.

    The thread takes what is waiting as soon as it is free, so an idle model is never waited for and a busy
    one finds a batch. If a batch fails it is halved until the bad items are alone: only they fail.

    Args:
        call: the function; called by one thread.
        max_rows: most rows in one call. An item with more is called alone.
        max_bytes: most bytes that are put together for one call; an item with more is called alone. On a CPU
            copying larger arrays costs more than a shared call saves. None: no limit, as a GPU wants it.
    """

    def __init__(
        self, call: BatchCall[K], max_rows: int, name: str = "batcher", max_bytes: int | None = CPU_BATCH_BYTES
    ) -> None:
        self._call = call
        self._max_rows = max_rows
        self._max_bytes = sys.maxsize if max_bytes is None else max_bytes
        self._waiting: deque[_Item[K]] = deque()
        self._wake = threading.Lock()
        self._wake.acquire()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name=f"millrace-{name}", daemon=True)

    async def __call__(self, arrays: dict[K, np.ndarray], count: int) -> tuple[dict[K, np.ndarray], BatchTiming]:
        """Answer for these rows. Raises what the function raises for them, or Unavailable once closed."""
        if self._closed:
            raise Unavailable("shutting down; send the request again")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._thread.start()
        item = _Item(
            arrays, count, sum(array.nbytes for array in arrays.values()), loop.create_future(), time.perf_counter()
        )
        self._waiting.append(item)
        self._rouse()
        return await item.future

    @property
    def waiting(self) -> int:
        """Items that no call has taken yet."""
        return len(self._waiting)

    def close(self) -> None:
        """Answer what is waiting, then end the thread."""
        self._closed = True
        self._rouse()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _rouse(self) -> None:
        """Wake the thread; a token that it has not taken yet will show it the new item too."""
        if self._wake.locked():
            self._wake.release()

    def _work(self) -> None:
        while not self._closed:
            self._wake.acquire()
            self._work_off()
        self._work_off()  # what arrived between the last look and the end

    def _work_off(self) -> None:
        while batch := self._take():
            self._report(self._run(batch))

    def _take(self) -> list[_Item[K]]:
        """The oldest item and those behind it that fit into the same call, in order."""
        batch: list[_Item[K]] = []
        rows = size = 0
        while self._waiting:
            item = self._waiting[0]
            if not item.future.cancelled():
                rows, size = rows + item.count, size + item.bytes
                full = rows > self._max_rows or size > self._max_bytes
                if batch and (full or item.shape() != batch[0].shape()):
                    break
                batch.append(item)
            self._waiting.popleft()
        return batch

    def _run(self, batch: list[_Item[K]]) -> list[_Outcome[K]]:
        taken = time.perf_counter()
        try:
            arrays, count = _join(batch)
            started = time.perf_counter()
            outputs, seconds = self._call(arrays, count)
        except BaseException as error:  # noqa: BLE001  user code may even exit; the thread must go on, and each item be answered
            return self._halve(batch, error)
        batch_s = started - taken
        return [
            _Outcome(item, (part, BatchTiming(taken - item.arrived, batch_s, seconds, count, item is batch[0])), None)
            for item, part in zip(batch, _split(batch, outputs), strict=True)
        ]

    def _halve(self, batch: list[_Item[K]], error: BaseException) -> list[_Outcome[K]]:
        if len(batch) == 1:
            if not isinstance(error, MillraceError):
                error = NodeError(f"{type(error).__name__}: {error}")
            return [_Outcome(batch[0], None, error)]
        middle = len(batch) // 2
        return self._run(batch[:middle]) + self._run(batch[middle:])

    def _report(self, outcomes: list[_Outcome[K]]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: list[_Outcome[K]]) -> None:
    for outcome in outcomes:
        if outcome.item.future.done():  # the caller left while the batch ran
            continue
        if outcome.error is not None:
            outcome.item.future.set_exception(outcome.error)
        else:
            assert outcome.answer is not None
            outcome.item.future.set_result(outcome.answer)


def _join(batch: list[_Item[K]]) -> tuple[dict[K, np.ndarray], int]:
    if len(batch) == 1:
        return batch[0].arrays, batch[0].count
    arrays = {key: np.concatenate([item.arrays[key] for item in batch]) for key in batch[0].arrays}
    return arrays, sum(item.count for item in batch)


def _split(batch: list[_Item[K]], outputs: dict[K, np.ndarray]) -> list[dict[K, np.ndarray]]:
    if len(batch) == 1:
        return [outputs]
    parts: list[dict[K, np.ndarray]] = []
    start = 0
    for item in batch:
        end = start + item.count
        parts.append({key: array[start:end] for key, array in outputs.items()})
        start = end
    return parts
