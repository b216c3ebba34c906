"""Batch size under a latency objective: what is found while serving, beside a sweep of fixed sizes."""

from dataclasses import dataclass

import numpy as np

from benchmarks.isolation.simulated import Simulation, linear
from configs.node_options import Batch

P99_S = 0.1
FIXED_S, EACH_S = 0.008, 0.0005
MOST = 256
SWEEP = (8, 16, 24, 32, 40, 48, 52, 56, 60, 64, 68, 72, 76, 80, 88, 96)
NOISES = (0.1, 0.2)
"""Standard deviations of the logarithm of a call's noise."""


@dataclass(frozen=True)
class Served:
    """One run under saturation."""

    rows: float
    """Most rows in a call, on average."""
    per_second: float
    p99_s: float
    late: float
    """Share of requests that took longer than the objective."""


@dataclass(frozen=True)
class Sizes:
    """The sweep and what was found, for one noise."""

    noise: float
    fixed: list[Served]
    found: Served
    trail: list[tuple[float, int]]
    """(seconds since the start, most rows) of every call of the adaptive run."""

    @property
    def best(self) -> Served:
        """The fixed size with the most answers of those that keep the objective."""
        return max((run for run in self.fixed if run.p99_s <= P99_S), key=lambda run: run.per_second)


async def sizes(noise: float, seconds: float) -> Sizes:
    """Sweep fixed sizes, then let the batcher find one; the first quarter of each run is not counted."""
    fixed = [(await _served(Batch(max_rows=rows), noise, seconds))[0] for rows in SWEEP]
    found, trail = await _served(Batch(max_rows=MOST, p99_ms=P99_S * 1e3), noise, seconds)
    return Sizes(noise, fixed, found, trail)


async def _served(batch: Batch, noise: float, seconds: float) -> tuple[Served, list[tuple[float, int]]]:
    patient = batch.model_copy(update={"max_wait_s": 1e9})
    simulation = await Simulation(linear(FIXED_S, EACH_S, noise, seed=1), patient, None).run(seconds)
    start = seconds / 4
    took = np.array([r.seconds for r in simulation.requests if r.arrived > start and r.outcome == "answered"])
    allowed = [call.allowed for call in simulation.calls if call.at > start]
    served = Served(
        float(np.mean(allowed)),
        len(took) / (seconds - start),
        float(np.quantile(took, 0.99)),
        float((took > P99_S).mean()),
    )
    return served, [(call.at, call.allowed) for call in simulation.calls]
