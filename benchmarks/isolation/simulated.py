"""The real Batcher on a simulated clock: calls take the time a cost says, and requests arrive while they run."""

import asyncio
import math
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.errors import DeadlineExceeded, Overloaded
from configs.node_options import Batch
from graphs.batcher import Batcher
from graphs.slot import Called
from graphs.terms import Terms

Cost = Callable[[int], float]
"""Seconds of a call with so many rows."""


@dataclass(slots=True)
class Request:
    """One row that arrived, and what became of it."""

    arrived: float
    outcome: str = "waiting"
    """answered, refused, expired or waiting."""
    seconds: float = math.nan
    """Until the answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model."""

    at: float
    rows: int
    allowed: int
    """Most rows that the batcher would have put into it."""


class _Unthreaded(Batcher[str]):
    """A batcher whose work is done by whoever calls `step`."""

    def start(self) -> None:
        """No thread: time passes only as the simulation says."""


class Simulation:
    """One server, one model, single rows.

    A request is started at the simulated moment at which it arrives, also in the middle of a call, so that the batcher
    judges it by what it knows at that moment.

    Args:
        per_second: requests that arrive, in a Poisson process. None: as many as fit into the next call arrive just
            after a call has begun, so that each waits as long as it can for one call, and no call is less than full.
        patience_s: deadline of each request; inf: none.
    """

    def __init__(
        self, cost: Cost, batch: Batch, per_second: float | None, patience_s: float = math.inf, seed: int = 1
    ) -> None:
        self._cost, self._patience_s = cost, patience_s
        self._saturated = per_second is None
        self._now = 0.0
        self._batcher = _Unthreaded(self._call, batch, clock=lambda: self._now)
        self._row = {"x": np.zeros((1, 1), np.float32)}
        self._arrivals = _poisson(per_second, random.Random(seed)) if per_second else iter((0.0,))
        self._next = next(self._arrivals)
        self.requests: list[Request] = []
        self.calls: list[Call] = []

    async def run(self, seconds: float) -> "Simulation":
        """Let the time pass."""
        while self._now < seconds:
            if not self._batcher.step():
                self._pass_until(self._next)
            await asyncio.sleep(0)  # answers are set,
            await asyncio.sleep(0)  # and heard of
        return self

    def _call(self, arrays: dict[str, np.ndarray], count: int) -> tuple[dict[str, np.ndarray], dict[Called, float]]:
        self.calls.append(Call(self._now, count, self._batcher.max_rows))
        if self._saturated:
            for _ in range(self._batcher.max_rows - self._batcher.waiting):
                self._arrive()
        self._pass_until(self._now + self._cost(count))
        return arrays, {}

    def _pass_until(self, end: float) -> None:
        while self._next <= end:
            self._now = self._next
            self._next = next(self._arrivals, math.inf)
            self._arrive()
        self._now = end

    def _arrive(self) -> None:
        request = Request(self._now)
        self.requests.append(request)
        _advance(self._ask(request))

    async def _ask(self, request: Request) -> None:
        try:
            await self._batcher(self._row, 1, Terms(request.arrived + self._patience_s))
            request.outcome, request.seconds = "answered", self._now - request.arrived
        except Overloaded:
            request.outcome = "refused"
        except DeadlineExceeded:
            request.outcome = "expired"


def _poisson(per_second: float, chance: random.Random) -> Iterator[float]:
    now = 0.0
    while True:
        now += chance.expovariate(per_second)
        yield now


def _advance(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine up to the next future it awaits, at once; a task would begin only when the loop comes round."""
    try:
        future = work.send(None)
    except StopIteration:
        return
    future.add_done_callback(lambda _: _advance(work))


def linear(fixed_s: float, each_s: float, noise: float, seed: int) -> Cost:
    """A call's cost: fixed + rows x each, times log-normal noise of mean 1."""
    chance = random.Random(seed)
    return lambda rows: (fixed_s + each_s * rows) * chance.lognormvariate(-noise * noise / 2, noise)
