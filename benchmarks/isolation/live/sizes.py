"""The batch size under a latency objective: the batcher with its own thread, the real clock and a model that sleeps.

What the machine adds (threads that are woken late, an event loop that is busy) is in the figures.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.isolation.sizes import EACH_S, FIXED_S, P99_S
from configs.node_options import Batch
from graphs.batcher import Batcher
from graphs.slot import Called

SWEEP = (16, 32, 48, 56, 64, 72, 80, 96)
FIXED_RUN_S, FOUND_RUN_S = 6, 16
NOISE = 0.1
MOST = 256


@dataclass(frozen=True)
class Served:
    """One run under saturation."""

    per_second: float
    p99_s: float
    rows: float
    """Most rows in a call, on average."""


def _sleeping(rows: dict[str, np.ndarray], count: int) -> tuple[dict[str, np.ndarray], dict[Called, float]]:
    """A model whose calls cost what those of `sizes.py` cost."""
    seconds = (FIXED_S + EACH_S * count) * random.lognormvariate(0, NOISE)
    time.sleep(seconds)
    return rows, {Called("model", ""): seconds}


async def _served(batch: Batch, clients: int, seconds: float) -> Served:
    """Clients that ask again as soon as they are answered; the first quarter is not counted."""
    batcher: Batcher[str] = Batcher(_sleeping, batch)
    row = {"x": np.zeros((1, 4), np.float32)}
    began = time.monotonic()
    took: list[float] = []
    sizes: list[int] = []

    async def client() -> None:
        while (asked := time.monotonic()) < began + seconds:
            await batcher(row, 1)
            if asked > began + seconds / 4:
                took.append(time.monotonic() - asked)
                sizes.append(batcher.max_rows)

    await asyncio.gather(*(client() for _ in range(clients)))
    batcher.close()
    return Served(len(took) / (seconds * 0.75), float(np.quantile(took, 0.99)), float(np.mean(sizes)))


def sizes(quick: bool) -> Iterator[tuple[str, Served]]:
    """Sweep fixed sizes, then let the batcher find one; what was run, and what was served."""
    random.seed(1)
    for rows in (64,) if quick else SWEEP:
        # Twice as many clients as rows: while one call runs, the next one fills.
        yield str(rows), asyncio.run(_served(Batch(max_rows=rows), 2 * rows, 2 if quick else FIXED_RUN_S))
    for clients in (128,) if quick else (128, 136):
        objective = Batch(max_rows=MOST, p99_ms=P99_S * 1e3)
        served = asyncio.run(_served(objective, clients, 4 if quick else FOUND_RUN_S))
        yield f"**found**, {served.rows:.1f}, with {clients} clients", served
