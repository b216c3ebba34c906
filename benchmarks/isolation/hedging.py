"""Hedging: the real Hedge around a call that sometimes stalls, in real time, and the same call without it."""

import asyncio
import random
import time
from dataclasses import dataclass

import numpy as np

from configs.tensors import Rows
from graphs.batcher import BatchTiming
from graphs.frame import Frame
from graphs.policies import Hedge
from graphs.run import Answer, NodeCall, Run, Trace
from graphs.terms import UNHURRIED

CALL_S, SPREAD = 0.02, 0.1
"""Median of a call, and the standard deviation of its logarithm."""
STALLED, SLOWER = 0.01, 50
"""Share of the calls that stall, and how many times longer these take."""
CLIENTS = 50


@dataclass(frozen=True)
class Tail:
    """One run of many calls."""

    hedged: bool
    calls: int
    extra: float
    """Second calls, as a share of the calls."""
    seconds: tuple[float, ...]
    """Of each call, sorted."""

    def quantile(self, share: float) -> float:
        """Seconds that this share of the calls did not exceed."""
        return float(np.quantile(self.seconds, share))


class _Stalling:
    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.made = 0

    async def __call__(self, rows: Rows, count: int, run: Run) -> Answer:
        self.made += 1
        seconds = CALL_S * self._chance.lognormvariate(0, SPREAD)
        await asyncio.sleep(seconds * (SLOWER if self._chance.random() < STALLED else 1))
        return rows, BatchTiming(0, 0, {}, count)


async def tail(hedged: bool, calls: int, seed: int = 1) -> Tail:
    """Clients that each send the next call when the last is answered."""
    node = _Stalling(seed)
    call: NodeCall = Hedge(node, "node") if hedged else node
    took: list[float] = []

    async def client() -> None:
        while len(took) < calls:
            started = time.perf_counter()
            await call({}, 1, Run(Frame(1, (), {}, {}), Trace(), UNHURRIED))
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return Tail(hedged, len(took), node.made / len(took) - 1, tuple(sorted(took)))
