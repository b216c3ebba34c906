"""What stands between a request and one node: a timeout for each try, more tries, a stand-in, a second replica."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from configs.errors import ConfigError, DeadlineExceeded, NodeDied, NodeError, NodeTimeout, Overloaded, Unavailable
from configs.graph import NodeBase
from configs.log import LOGGER
from configs.node_options import Cache
from configs.tensors import Datatype, Rows, TensorSpec
from graphs.batcher import BatchTiming
from graphs.cache import Cached, RowStore
from graphs.redis_rows import RedisRows
from graphs.run import Answer, NodeCall, Run

logger = logging.getLogger(LOGGER)

RETRY_PAUSE_S = 0.02
"""Before the second try; twice as long before each further one."""
HEDGED_SHARE = 0.05
"""Most calls that are made twice, of all."""
_MOST_CREDIT = 10.0
"""Second calls that may be saved up, for when a replica hangs with many calls."""
_REMEMBERED = 1000
"""Latest calls whose seconds are known."""
_PASSING = (NodeError, Unavailable)
"""Failures that another try, or another node, may not have. What is wrong with the rows stays wrong."""


def guard(
    call: NodeCall,
    name: str,
    config: NodeBase,
    version: Callable[[], str] = str,
    fallback: NodeCall | None = None,
) -> NodeCall:
    """The call with what the node's config asks for.

    The order matters: each try has its own timeout, all tries come before the stand-in, and what is remembered is the
    node's own answer, never the stand-in's.

    Args:
        version: gives that of the node's servable which answers now, for the keys of its cache.
    """
    if config.hedge:
        call = Hedge(call, name)
    if config.timeout_s is not None:
        call = _within(call, name, config.timeout_s)
    if config.retries:
        call = _retried(call, name, config.retries)
    if config.cache is not None:
        call = _cached(call, name, version, config, config.cache)
    if fallback is not None:
        call = _with_fallback(call, name, fallback)
    return call


def _cached(call: NodeCall, name: str, version: Callable[[], str], config: NodeBase, cache: Cache) -> NodeCall:
    store = RowStore(cache.ttl_s, cache.max_bytes)
    if cache.store == "memory":
        return Cached(call, name, version, store)
    # Others write to the same store: whatever makes the node what it is belongs into the keys.
    made_by = config.model_dump_json(exclude={"cache": {"store"}})
    return Cached(call, name, version, store, RedisRows(cache.store, cache.ttl_s), made_by)


def _within(call: NodeCall, name: str, timeout_s: float) -> NodeCall:
    async def timed(rows: Rows, count: int, run: Run) -> Answer:
        # The try's end is its deadline too: a queue refuses at once what it could only answer later.
        own = min(run.terms.deadline, time.monotonic() + timeout_s)
        attempt = replace(run, terms=replace(run.terms, deadline=own))
        scope = asyncio.timeout(timeout_s)
        try:
            async with scope:
                return await call(rows, count, attempt)
        except (TimeoutError, DeadlineExceeded) as error:
            if not scope.expired() and (isinstance(error, TimeoutError) or run.terms.left_s <= 0):
                raise
            raise NodeTimeout(
                f"node {name} had no answer within its timeout_s of {timeout_s:g}, waiting included"
            ) from None

    return timed


def _retried(call: NodeCall, name: str, retries: int) -> NodeCall:
    async def persistent(rows: Rows, count: int, run: Run) -> Answer:
        for attempt in range(retries):
            try:
                return await call(rows, count, run)
            except NodeDied:  # these rows have ended enough processes
                raise
            except _PASSING as error:
                logger.info("node %s: try %d of %d failed: %s", name, attempt + 1, retries + 1, error)
                pause_s = RETRY_PAUSE_S * 2**attempt
                if pause_s >= run.terms.left_s:  # no time for another: the failure says more than "too late" would
                    raise
                run.trace.events.append((name, "retry", 1))
                await asyncio.sleep(pause_s)
        return await call(rows, count, run)

    return persistent


def _with_fallback(call: NodeCall, name: str, fallback: NodeCall) -> NodeCall:
    async def backed(rows: Rows, count: int, run: Run) -> Answer:
        try:
            return await call(rows, count, run)
        except (*_PASSING, Overloaded) as error:
            logger.info("node %s: its fallback answers, because: %s", name, error)
            run.trace.events.append((name, "fallback", 1))
            return await fallback(rows, count, run)

    return backed


class Hedge:
    """Calls a node a second time when the first takes longer than 95 of 100 did, and takes the answer that is first.

    "The Tail at Scale" (Dean and Barroso, CACM 56(2), 2013), hedged requests: few calls more cut the tail, as long as
    the two are not slow for the same reason. At most `HEDGED_SHARE` of all calls are made twice, so a node that is slow
    altogether does not get twice the load. A second call that loses is cancelled. A first call that is overtaken goes
    on, unheard: model code that runs cannot be interrupted, and were the call cancelled, Serve's router would take its
    replica for idle and send the next calls to where they wait the longest.

    Each call earns a twentieth of a second call. The less is saved, the longer the wait before one is spent, up to what
    99 of 100 calls take: else calls that are a little late would leave nothing for those that hang.
    """

    def __init__(self, call: NodeCall, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._call = call
        self._name = name
        self._clock = clock
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)
        self._ordered: list[float] = []
        self._calls = 0
        self._credit = 0.0
        self._overtaken: set[asyncio.Task[Answer]] = set()

    async def __call__(self, rows: Rows, count: int, run: Run) -> Answer:
        """The answer of the first that has one."""
        self._credit = min(self._credit + HEDGED_SHARE, _MOST_CREDIT)
        started = self._clock()
        first = self._start(rows, count, run)
        tries = {first}
        try:
            await asyncio.wait(tries, timeout=self._delay_s())
            for _ in range(2):  # after a pause of this process, answers that are here already come first
                if not first.done():
                    await asyncio.sleep(0)
            if not first.done() and self._credit >= 1:
                self._credit -= 1
                run.trace.events.append((self._name, "hedge", 1))
                tries.add(self._start(rows, count, run))
            winner = await _first_answer(tries)
            if winner is not first:
                run.trace.events.append((self._name, "hedge won", 1))
                tries.discard(first)
                self._overtaken.add(first)
                first.add_done_callback(self._overtaken.discard)
            answer = winner.result()
        finally:
            for other in tries:
                other.cancel()
        self._learn(self._clock() - started)
        return answer

    def _start(self, rows: Rows, count: int, run: Run) -> "asyncio.Task[Answer]":
        async def once() -> Answer:
            return await self._call(rows, count, run)

        task = asyncio.create_task(once())
        task.add_done_callback(_fails)  # asked, or asyncio would complain of a loser's error that nobody looked at
        return task

    def _delay_s(self) -> float | None:
        if not self._ordered:
            return None
        share = HEDGED_SHARE * (0.2 + 0.8 * self._credit / _MOST_CREDIT)
        return self._ordered[int(len(self._ordered) * (1 - share))]

    def _learn(self, seconds: float) -> None:
        self._seconds.append(seconds)
        self._calls += 1
        if self._calls % 50 == 0:  # sorting a thousand numbers at each call would cost more than a small model
            self._ordered = sorted(self._seconds)


async def _first_answer(tries: set["asyncio.Task[Answer]"]) -> "asyncio.Task[Answer]":
    """The try that answers first; if none does, one that failed."""
    waiting = tries
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        good = [one for one in done if not _fails(one)]
        if good or not waiting:
            return (good or list(done))[0]


def _fails(task: "asyncio.Task[Answer]") -> bool:
    return task.cancelled() or task.exception() is not None


def constant_call(name: str, values: Mapping[str, Any], outputs: Mapping[str, TensorSpec]) -> NodeCall:
    """The same answer for every row.

    Args:
        values: output → value of one row.
        outputs: of the node, where they are known: all must have a value, which gets their datatype.

    Raises:
        ConfigError: a value is missing, or is not of its output's datatype or shape.
    """
    row = constant_row(name, values, outputs)

    async def call(rows: Rows, count: int, run: Run) -> Answer:
        return {output: np.repeat(value, count, axis=0) for output, value in row.items()}, BatchTiming(0, 0, {}, count)

    return call


def constant_row(name: str, values: Mapping[str, Any], outputs: Mapping[str, TensorSpec]) -> Rows:
    """Arrays of one row. Raises ConfigError as `constant_call` does."""
    if outputs and set(values) != set(outputs):
        raise ConfigError(
            f"node {name}: fallback.constant has {', '.join(sorted(values))}, but the node gives "
            f"{', '.join(sorted(outputs))}; give each of them a value"
        )
    return {output: _constant(name, output, value, outputs.get(output)) for output, value in values.items()}


def _constant(name: str, output: str, value: Any, spec: TensorSpec | None) -> np.ndarray:
    try:
        array = _as_bytes(np.asarray([value]))
        found = TensorSpec(datatype=Datatype.of(array), shape=(-1, *array.shape[1:]))
        if spec is None:
            return array
        if not spec.fits(found.model_copy(update={"datatype": spec.datatype})):
            raise ValueError(f"its shape is {list(array.shape[1:])} a row")
        return _converted(array, spec.datatype)
    except (TypeError, ValueError) as error:
        wanted = f" no {spec}" if spec else " no value of a tensor"
        raise ConfigError(f"node {name}: fallback.constant.{output} is{wanted}: {error}") from None


def _converted(array: np.ndarray, datatype: Datatype) -> np.ndarray:
    """The same values in another datatype. Raises ValueError if it cannot hold them."""
    if Datatype.of(array) == datatype:
        return array
    kinds = {array.dtype.kind, datatype.dtype.kind}
    if kinds & {"O", "b"}:
        raise ValueError(f"it is {Datatype.of(array)}")
    with np.errstate(all="ignore"):
        converted = array.astype(datatype.dtype)
    if datatype.dtype.kind in "iu" and not np.array_equal(converted.astype(np.float64), array.astype(np.float64)):
        raise ValueError("it does not fit")
    return converted


def _as_bytes(array: np.ndarray) -> np.ndarray:
    """Text as BYTES are held: an array of `bytes`."""
    if array.dtype.kind not in "OSU":
        return array
    words = [item.encode() if isinstance(item, str) else item for item in array.flat]
    if not all(isinstance(word, bytes) for word in words):
        raise TypeError("its parts are not alike")
    made = np.empty(array.size, object)
    made[:] = words
    return made.reshape(array.shape)
