"""What stands between a request and one node: a timeout for each try, more tries, a stand-in, a second replica."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.errors import ConfigError, NodeError, NodeTimeout, Overloaded, Unavailable
from configs.graph import NodeBase
from configs.tensors import Rows, TensorSpec
from graphs.batcher import BatchTiming
from graphs.run import Answer, NodeCall, Run

RETRY_PAUSE_S = 0.02
"""Before the second try; twice as long before each further one."""
HEDGED_SHARE = 0.05
"""Most calls that are made twice, of all."""
_PASSING = (NodeError, Unavailable)
"""Failures that another try may not have. What is wrong with the rows stays wrong."""


def guard(call: NodeCall, name: str, config: NodeBase, fallback: NodeCall | None) -> NodeCall:
    """The call with what the node's config asks for.

    The order matters: each try has its own timeout, all tries come before the stand-in.
    """
    if config.hedge:
        call = Hedge(call, name)
    if config.timeout_s is not None:
        call = _within(call, name, config.timeout_s)
    if config.retries:
        call = _retried(call, name, config.retries)
    if fallback is not None:
        call = _with_fallback(call, name, fallback)
    return call


def _within(call: NodeCall, name: str, timeout_s: float) -> NodeCall:
    async def timed(rows: Rows, count: int, run: Run) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                return await call(rows, count, run)
        except TimeoutError:
            raise NodeTimeout(f"node {name} took longer than its timeout_s of {timeout_s:g}") from None

    return timed


def _retried(call: NodeCall, name: str, retries: int) -> NodeCall:
    async def persistent(rows: Rows, count: int, run: Run) -> Answer:
        for attempt in range(retries):
            try:
                return await call(rows, count, run)
            except _PASSING:
                run.trace.events.append((name, "retry", 1))
                await asyncio.sleep(RETRY_PAUSE_S * 2**attempt)
        return await call(rows, count, run)

    return persistent


def _with_fallback(call: NodeCall, name: str, fallback: NodeCall) -> NodeCall:
    async def backed(rows: Rows, count: int, run: Run) -> Answer:
        try:
            return await call(rows, count, run)
        except (*_PASSING, Overloaded):
            run.trace.events.append((name, "fallback", 1))
            return await fallback(rows, count, run)

    return backed


class Hedge:
    """Calls a node a second time when the first takes longer than 95 of 100 did, and takes the answer that is first.

    "The Tail at Scale" (Dean and Barroso, CACM 56(2), 2013), hedged requests: few calls more cut the tail, as long as
    the two are not slow for the same reason. At most `HEDGED_SHARE` of all calls are made twice, so a node that is slow
    altogether does not get twice the load. The slower call is cancelled.
    """

    def __init__(self, call: NodeCall, name: str) -> None:
        self._call = call
        self._name = name
        self._seconds: deque[float] = deque(maxlen=1000)
        self._calls = 0
        self._delay_s: float | None = None
        self._credit = 0.0

    async def __call__(self, rows: Rows, count: int, run: Run) -> Answer:
        """The answer of the first that has one."""
        self._credit = min(self._credit + HEDGED_SHARE, 10.0)
        started = time.monotonic()
        first = asyncio.create_task(self._once(rows, count, run))
        tries = {first}
        try:
            await asyncio.wait(tries, timeout=self._delay_s)
            if not first.done() and self._credit >= 1:
                self._credit -= 1
                run.trace.events.append((self._name, "hedge", 1))
                tries.add(asyncio.create_task(self._once(rows, count, run)))
            answer = await self._first_answer(tries)
            if not first.done():
                run.trace.events.append((self._name, "hedge won", 1))
            return answer
        finally:
            for other in tries:
                other.cancel()
            self._learn(time.monotonic() - started)

    async def _once(self, rows: Rows, count: int, run: Run) -> Answer:
        return await self._call(rows, count, run)

    async def _first_answer(self, tries: set["asyncio.Task[Answer]"]) -> Answer:
        """A try that fails is forgotten while the other may still answer."""
        while True:
            done, waiting = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED)
            good = [one for one in done if one.exception() is None]
            if good or not waiting:
                return (good or list(done))[0].result()
            tries = waiting

    def _learn(self, seconds: float) -> None:
        self._seconds.append(seconds)
        self._calls += 1
        if self._calls % 50 == 0:  # sorting a thousand numbers at each call would cost more than a small model
            ordered = sorted(self._seconds)
            self._delay_s = ordered[int(len(ordered) * (1 - HEDGED_SHARE))]


def constant_call(name: str, values: Mapping[str, Any], outputs: Mapping[str, TensorSpec]) -> NodeCall:
    """The same answer for every row.

    Args:
        values: output → value of one row.
        outputs: of the node, where they are known: the values get their datatypes.

    Raises:
        ConfigError: a value is not of its output's datatype or shape.
    """
    row = {output: _constant(name, output, value, outputs.get(output)) for output, value in values.items()}

    async def call(rows: Rows, count: int, run: Run) -> Answer:
        return {output: np.repeat(value, count, axis=0) for output, value in row.items()}, BatchTiming(0, 0, {}, count)

    return call


def _constant(name: str, output: str, value: Any, spec: TensorSpec | None) -> np.ndarray:
    try:
        array = np.asarray([value], spec.datatype.dtype if spec else None)
        if spec and not spec.fits(TensorSpec(datatype=spec.datatype, shape=array.shape)):
            raise ValueError(f"its shape is {list(array.shape[1:])} a row")
    except (TypeError, ValueError) as error:
        raise ConfigError(f"node {name}: fallback.constant.{output} is no {spec}: {error}") from None
    return array
