"""Overload of a real server: what is answered in time at a multiple of the capacity that the same run measured."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from statistics import mean

import numpy as np

from benchmarks.isolation.live.clients import Clients, Sent
from benchmarks.isolation.overload import Load

GRAPH = {
    "name": "steady",
    "inputs": {"x": "FP32[-1]"},
    "nodes": {
        "work": {
            "call": "benchmarks.isolation.live.nodes:Steady",
            "with": {"fixed_s": 0.02, "each_s": 0.005},
            "inputs": {"x": "x"},
            "batch": {"max_rows": 16},
        }
    },
    "outputs": {"y": "work.y"},
}
"""A full call takes 100 ms: 160 answers a second, so few that server and generator have CPU to spare at 3 x."""
_CLIENTS = 64
"""Four full calls: the next one is always full."""
PATIENCE_S = 0.5
"""How long each client waits; it tells the server."""
LOADS = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class LiveLoad:
    """One run, and whether the generator kept up."""

    load: Load
    p99_s: float
    """Of the good answers, from the moment that was planned."""
    behind_s: float
    """p99 of how much later than planned a request was sent."""
    busy: float
    """The generator's CPU time, as a share of one core."""


@dataclass(frozen=True)
class Overload:
    """Everything that was measured."""

    capacities: tuple[float, float]
    """Answers per second while clients wait in line, before and after the loads. What is offered refers to the first,
    what is achieved to their mean."""
    loads: list[LiveLoad]


async def overload(port: int, seconds: float) -> Overload:
    """Capacity, then each load, then capacity again."""
    before = await _capacity(port, seconds)
    runs = [(times, await _offered(port, times * before, seconds)) for times in LOADS]
    capacities = before, await _capacity(port, seconds)
    return Overload(capacities, [judge(times, *run, seconds, mean(capacities)) for times, run in runs])


async def _capacity(port: int, seconds: float) -> float:
    clients = Clients(port, "steady")
    requests = await clients.closed_loop(_CLIENTS, seconds)
    await clients.close()
    start, end = requests[0].planned + seconds / 4, requests[0].planned + seconds
    return sum(start < request.ended <= end for request in requests) / (end - start)


async def _offered(port: int, per_second: float, seconds: float) -> tuple[list[Sent], float]:
    clients, cpu, began = Clients(port, "steady", PATIENCE_S), time.process_time(), time.monotonic()
    requests = await clients.open_loop(per_second, seconds)
    busy = (time.process_time() - cpu) / (time.monotonic() - began)
    await clients.close()
    await asyncio.sleep(1)  # what waits in the server is worked off
    return requests, busy


def judge(times: float, requests: list[Sent], busy: float, seconds: float, capacity: float) -> LiveLoad:
    """What became of the requests; the first quarter of the run is not counted. Raises RuntimeError as `_kind`."""
    start = requests[0].planned + seconds / 4
    counted = [request for request in requests if request.planned > start]
    kinds = Counter(map(_kind, counted))
    good = [request.seconds for request in counted if _kind(request) == "good"]
    behind = [request.sent - request.planned for request in counted]
    load = Load(
        times,
        True,
        kinds["good"] / (seconds * 0.75) / capacity,
        kinds["refused"] / kinds.total(),
        kinds["late"] / kinds.total(),
    )
    if not good:
        raise RuntimeError(f"nothing was answered in time at {times} x")
    return LiveLoad(load, float(np.quantile(good, 0.99)), float(np.quantile(behind, 0.99)), busy)


def _kind(request: Sent) -> str:
    """Raises RuntimeError for an answer that overload does not explain."""
    if request.status not in (0, 200, 503, 504):
        raise RuntimeError(f"a request was answered with {request.status}")
    in_time = request.status and request.seconds <= PATIENCE_S
    return {200: "good", 503: "refused"}.get(request.status, "late") if in_time else "late"
