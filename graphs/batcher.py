"""Gather rows of concurrent requests into one call: at once when idle, as many as came while busy."""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from configs.errors import DeadlineExceeded, MillraceError, NodeError, RowErrors, Unavailable
from configs.graph import NodeBase
from configs.node_options import Batch
from graphs.admission import Admission, Running
from graphs.batch_size import BatchSize
from graphs.line import Line, rank
from graphs.pace import Pace
from graphs.slot import Called
from graphs.terms import UNHURRIED, Terms

K = TypeVar("K", bound=object)

BatchCall = Callable[[dict[K, np.ndarray], int], tuple[dict[K, np.ndarray], dict[Called, float]]]
"""Arrays and row count in; arrays with as many rows, and seconds of each node, out. May block."""

CPU_BATCH_BYTES = 1 << 20
"""Most bytes put together for a call on a CPU."""
APART = 0
"""So few that each item is called alone, and only once whatever becomes of others: for what is not idempotent."""
_CLOSED = "shutting down; send the request again"


def most_bytes(config: NodeBase) -> int | None:
    """Most bytes that are put together for a call of this node; None: any number."""
    if not config.idempotent:
        return APART
    return None if config.gpus else CPU_BATCH_BYTES


@dataclass(slots=True)
class BatchTiming:
    """Where one item's time went, in seconds, and how large its batch was, in rows."""

    queue_s: float
    """From arrival until the worker took the item."""
    batch_s: float
    """From being taken until the call: putting rows together."""
    compute_s: dict[Called, float]
    """Seconds of the call, of each node in it."""
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
    terms: Terms
    place: int
    """Its rank."""
    taken: bool = False
    """Whether the thread has it; set by the thread."""
    counted: bool = True
    """Whether its rows are among those that others wait for; of the event loop alone."""

    @property
    def left(self) -> bool:
        """Whether the caller went away."""
        return self.future.cancelled()

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
    one finds a batch. Who has the higher priority, then the earlier deadline, is taken first. Who left or is too late
    is not taken at all, and who could only be late is refused at once. If a batch fails it is halved until the bad
    items are alone, or divided as RowErrors say: only the bad ones fail.

    Args:
        call: the function; called by one thread.
        batch: most rows in one call (an item with more is called alone), longest wait, latency objective.
        max_bytes: most bytes that are put together for one call; an item with more is called alone. On a CPU
            copying larger arrays costs more than a shared call saves. None: no limit, as a GPU wants it.
        clock: seconds, on the clock of the items' deadlines.
    """

    def __init__(
        self,
        call: BatchCall[K],
        batch: Batch,
        name: str = "batcher",
        max_bytes: int | None = CPU_BATCH_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call = call
        self._name = name
        self._batch = batch
        self._max_bytes = sys.maxsize if max_bytes is None else max_bytes
        self._clock = clock
        self._pace = Pace()
        self._size = BatchSize(batch.max_rows, batch.p99_ms / 1e3, self._pace) if batch.p99_ms else None
        self._arrivals: deque[_Item[K]] = deque()
        self._line: Line[_Item[K]] = Line()
        """Of the thread alone; what the event loop adds goes through `_arrivals`."""
        self._admission = Admission(name, batch.max_wait_s, self._pace)
        self._wake = threading.Lock()
        self._wake.acquire()
        self._rousing = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name=f"millrace-{name}", daemon=True)

    async def __call__(
        self, arrays: dict[K, np.ndarray], count: int, terms: Terms = UNHURRIED
    ) -> tuple[dict[K, np.ndarray], BatchTiming]:
        """Answer for these rows.

        Raises:
            Overloaded: so much is before these rows that they would wait too long.
            DeadlineExceeded: the deadline has passed, or passed while they waited.
            Unavailable: closed.
            Exception: what the function raises for them.
        """
        if self._closed:
            raise Unavailable(_CLOSED)
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self.start()
            self._loop = loop
        now = self._clock()
        if terms.deadline <= now:
            raise self._too_late()
        place = rank(terms, now)
        self._admission.enter(place, count, terms, now, self.max_rows)
        size = sum(array.nbytes for array in arrays.values())
        item = _Item(arrays, count, size, loop.create_future(), now, terms, place)
        self._arrivals.append(item)
        if not self._rousing:
            self._rousing = True
            loop.call_soon(self._rouse)
        if self._closed:  # since the first look: the thread may have looked for the last time
            item.future.cancel()
            self._uncount(item)
            raise Unavailable(_CLOSED)
        try:
            return await item.future
        finally:
            if not item.taken:  # else its rows are computed, wanted or not
                self._uncount(item)

    def start(self) -> None:
        """Start the thread; called at the first item."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that no call has taken yet."""
        return len(self._arrivals) + len(self._line)

    @property
    def max_rows(self) -> int:
        """Most rows in the next call."""
        return self._size.rows if self._size else self._batch.max_rows

    def close(self) -> None:
        """Answer what is waiting, then end the thread."""
        self._closed = True
        self._rouse()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _uncount(self, item: _Item[K]) -> None:
        """Nobody waits for these rows any more."""
        if item.counted:
            item.counted = False
            self._admission.leave(item.place, item.count)

    def _rouse(self) -> None:
        """Wake the thread; a token that it has not taken yet will show it the new item too.

        Called once a turn of the event loop: what arrived in the same turn shares a call and one change of threads.
        """
        self._rousing = False
        if self._wake.locked():
            with suppress(RuntimeError):  # another thread, which closes the batcher, was faster
                self._wake.release()

    def _work(self) -> None:
        while not self._closed:
            self._wake.acquire()
            self.work_off()
        self.work_off()  # what arrived between the last look and the end

    def work_off(self) -> None:
        """Call until nothing waits. For the batcher's thread."""
        while self.step():
            pass

    def step(self) -> bool:
        """One call, if anything waits. For the batcher's thread."""
        while self._arrivals:
            self._line.join(self._arrivals.popleft())
        batch, expired = self._line.take(self._clock(), self._room())
        if expired:
            self._report([_Outcome(item, None, self._too_late()) for item in expired])
        if not batch:
            return False
        for item in batch:
            item.taken = True
        rows, started = sum(item.count for item in batch), self._clock()
        self._admission.running = Running(rows, max(item.place for item in batch), started)
        self._run(batch)
        self._pace.note(rows, self._clock() - started)  # with what failed and was called again: that is the pace
        return True

    def _room(self) -> Callable[[_Item[K]], bool]:
        """Says of each item in turn whether it fits into the same call as those before."""
        most, first = self.max_rows, None
        rows = size = 0

        def fits(item: _Item[K]) -> bool:
            nonlocal first, rows, size
            rows, size = rows + item.count, size + item.bytes
            if first is None:
                first = item
                return True
            return rows <= most and size <= self._max_bytes and item.shape() == first.shape()

        return fits

    def _run(self, batch: list[_Item[K]]) -> None:
        taken = self._clock()
        try:
            arrays, count = _join(batch)
            started = self._clock()
            outputs, seconds = self._call(arrays, count)
        except RowErrors as error:
            self._divide(batch, error)
            return
        except BaseException as error:  # noqa: BLE001  user code may even exit; the thread must go on, and each item be answered
            self._halve(batch, error)
            return
        if self._size:
            self._size.note(count, self._clock() - taken)
        batch_s = started - taken
        self._report(
            [
                _Outcome(
                    item, (part, BatchTiming(taken - item.arrived, batch_s, seconds, count, item is batch[0])), None
                )
                for item, part in zip(batch, _split(batch, outputs), strict=True)
            ]
        )

    def _divide(self, batch: list[_Item[K]], error: RowErrors) -> None:
        """The items of the rows that a node calls bad fail, the others are called again."""
        bad: dict[int, RowErrors] = {}
        start = 0
        for index, item in enumerate(batch):
            own = {row - start: error.reasons[row] for row in range(start, start + item.count) if row in error.reasons}
            if own:
                bad[index] = RowErrors(own)
            start += item.count
        if not bad:
            self._halve(batch, NodeError(f"node {self._name}: {error.message}, but the call had {start} rows"))
            return
        self._report([_Outcome(batch[index], None, why) for index, why in bad.items()])
        self._again([item for index, item in enumerate(batch) if index not in bad])

    def _halve(self, batch: list[_Item[K]], error: BaseException) -> None:
        if len(batch) == 1:
            if not isinstance(error, MillraceError):
                error = NodeError(f"{type(error).__name__}: {error}")
            self._report([_Outcome(batch[0], None, error)])
            return
        middle = len(batch) // 2
        self._again(batch[:middle])
        self._again(batch[middle:])

    def _again(self, batch: list[_Item[K]]) -> None:
        """Call without those that left or expired since."""
        now = self._clock()
        gone = [item for item in batch if item.left or item.terms.deadline <= now]
        if gone:
            self._report([_Outcome(item, None, self._too_late()) for item in gone])
        wanted = [item for item in batch if item not in gone]
        if wanted:
            self._run(wanted)

    def _too_late(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the deadline passed before node {self._name} was called")

    def _report(self, outcomes: list[_Outcome[K]]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settle, outcomes)
        except RuntimeError:
            if not self._loop.is_closed():  # else nobody waits any more
                raise

    def _settle(self, outcomes: list[_Outcome[K]]) -> None:
        for outcome in outcomes:
            self._uncount(outcome.item)
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
