"""Medians over the rounds, and ratios to FastAPI (or what plays its part) within each round."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.online.measure import Run

BASES = {"fastapi": "FastAPI", "grpc-aio": "grpc.aio"}
"""The plain servers that others are compared with, and their names for short. A workload has one of them."""

Key = tuple[str, int, str]
"""Workload, connections, server."""


class Summary(NamedTuple):
    """All rounds of one server, workload and number of connections.

    Latency and CPU time are those of the rounds in which anything was answered; NaN if there was none.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_per_1000: float
    data_path_cpu_per_1000: float
    ratio: float | None
    """Median over the rounds of requests per second divided by the base's in the same round; None without a base."""
    p50_above_ms: float | None
    """Median over the rounds of p50 less the base's in the same round."""
    errors: int


def summarise(runs: Iterable[Run]) -> dict[Key, Summary]:
    """Summaries in the order of the first round."""
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault((run.workload, run.connections, run.server), []).append(run)
    return {key: _summary(group, _base(groups, key)) for key, group in groups.items()}


def _base(groups: Mapping[Key, list[Run]], key: Key) -> list[Run]:
    return next((groups[(*key[:2], base)] for base in BASES if (*key[:2], base) in groups), [])


def _summary(group: Sequence[Run], base: Sequence[Run]) -> Summary:
    by_round = {run.round: run for run in base if run.requests}
    answered = [run for run in group if run.requests]
    pairs = [(run, by_round[run.round]) for run in group if run.round in by_round]
    above = [run.p50_ms - other.p50_ms for run, other in pairs if run.requests]
    return Summary(
        median(run.per_second for run in group),
        _median(run.p50_ms for run in answered),
        _median(run.p99_ms for run in answered),
        _median(run.cpu_per_1000 for run in answered),
        _median(run.data_path_cpu_per_1000 for run in answered),
        median(run.per_second / other.per_second for run, other in pairs) if pairs else None,
        median(above) if above else None,
        sum(count for run in group for count in run.errors.values()),
    )


def _median(values: Iterable[float]) -> float:
    known = list(values)
    return median(known) if known else math.nan
