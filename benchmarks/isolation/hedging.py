"""Hedging: the real Hedge around a call that sometimes stalls, on simulated time, and the same call without it."""

import asyncio
import random
import selectors
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


class _SkippingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Never waits: says that the time has passed."""

    skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.skipped_s += timeout or 0.0
        return super().select(0)  # type: ignore[no-any-return]


class _SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while something runs, and jumps to the next timer when nothing does."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.skipped_s


def tail(hedged: bool, calls: int, seed: int = 1) -> Tail:
    """Clients that each send the next call when the last is answered."""
    with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
        return runner.run(_tail(hedged, calls, seed))


async def _tail(hedged: bool, calls: int, seed: int) -> Tail:
    node, clock = _Stalling(seed), asyncio.get_running_loop().time
    call: NodeCall = Hedge(node, "node", clock) if hedged else node
    took: list[float] = []

    async def client() -> None:
        while len(took) < calls:
            started = clock()
            await call({}, 1, Run(Frame(1, (), {}, {}), Trace(), UNHURRIED))
            took.append(clock() - started)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return Tail(hedged, len(took), node.made / len(took) - 1, tuple(sorted(took)))
