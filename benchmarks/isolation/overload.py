"""Overload: what is answered in time at a multiple of the capacity, with deadlines and admission, and without."""

import math
from collections import Counter
from dataclasses import dataclass

from benchmarks.isolation.simulated import Request, Simulation, linear
from configs.node_options import Batch

PATIENCE_S = 0.2
"""How long each client waits; it tells the server only where deadlines are on."""
FIXED_S, EACH_S, NOISE = 0.008, 0.0005, 0.1
MOST = 64
CAPACITY = MOST / (FIXED_S + EACH_S * MOST)
"""Answers per second in full calls."""
LOADS = (0.5, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)


@dataclass(frozen=True)
class Load:
    """One run."""

    times: float
    """What arrives, as a multiple of the capacity."""
    deadlines: bool
    goodput: float
    """Answers within `PATIENCE_S`, as a share of the capacity."""
    refused: float
    """Share of the requests that were refused at once."""
    late: float
    """Share of the requests that were answered, but too late; or not at all within the run."""


async def load(times: float, deadlines: bool, seconds: float) -> Load:
    """Open loop: requests arrive in a Poisson process, whatever becomes of those before."""
    cost = linear(FIXED_S, EACH_S, NOISE, seed=1)
    batch = Batch(max_rows=MOST, max_wait_s=10 if deadlines else 1e9)
    patience_s = PATIENCE_S if deadlines else math.inf
    simulation = await Simulation(cost, batch, times * CAPACITY, patience_s, seed=2).run(seconds)
    start, end = seconds / 4, seconds - 2 * PATIENCE_S
    counts = Counter(_kind(request) for request in simulation.requests if start < request.arrived <= end)
    return Load(
        times,
        deadlines,
        counts["good"] / (end - start) / CAPACITY,
        counts["refused"] / counts.total(),
        (counts["late"] + counts["expired"] + counts["waiting"]) / counts.total(),
    )


def _kind(request: Request) -> str:
    if request.outcome != "answered":
        return request.outcome
    return "good" if request.seconds <= PATIENCE_S else "late"
