"""The measurement: rounds over servers, workloads and numbers of connections."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.online.clients import prepare
from benchmarks.online.cpu import cpu_seconds, data_path, spent, wait_idle
from benchmarks.online.launch import KINDS, Running, running
from benchmarks.online.workloads import Post, Workload

_WARM_UP_S = 1
_WARM_UP_CONNECTIONS = 32
_DRAIN_S = 300
_MANY_BYTES, _LONGER = 1 << 30, 5
"""With more bytes in flight than this, runs are so many times as long: servers that read all bodies at the same time
would not have answered one within the usual seconds."""


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    rounds: int
    seconds: int
    connections: Sequence[int]
    servers: Sequence[str]
    workloads: Sequence[Workload]


@dataclass(frozen=True)
class Run:
    """One timed run: one server, one workload, one number of connections."""

    round: int
    server: str
    workload: str
    connections: int
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """CPU time of all the server's processes."""
    data_path_cpu_s: float
    """Of those processes alone that a request passes through."""
    errors: dict[str, int]
    """Kind → count, as the load generator names them; empty if every request was answered with 2xx, or OK."""

    @property
    def cpu_per_1000(self) -> float:
        """CPU seconds for 1,000 requests; NaN if none was answered."""
        return 1000 * self.cpu_s / self.requests if self.requests else math.nan

    @property
    def data_path_cpu_per_1000(self) -> float:
        """The same of the processes that a request passes through."""
        return 1000 * self.data_path_cpu_s / self.requests if self.requests else math.nan

    def to_json(self) -> dict[str, Any]:
        """For the file of raw results."""
        return asdict(self)


def measure(plan: Plan, say: Callable[[str], None]) -> Iterator[Run]:
    """All runs. Servers alternate: each is started, measured and ended once a round, and none runs beside another."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, plan.rounds + 1):
            for name in plan.servers:
                workloads = [workload for workload in plan.workloads if workload.client.protocol in KINDS[name].speaks]
                if not workloads:
                    continue
                say(f"round {number} of {plan.rounds}: starting {KINDS[name].title}")
                started = time.monotonic()
                with running(KINDS[name], workloads) as server:
                    say(f"  answers all workloads rightly after {time.monotonic() - started:.0f} s")
                    for workload in workloads:
                        yield from _measure_workload(plan, number, name, server, workload, Path(folder), say)


def _measure_workload(
    plan: Plan, number: int, name: str, server: Running, workload: Workload, folder: Path, say: Callable[[str], None]
) -> Iterator[Run]:
    post = workload.post(server.kind.millrace)
    run_client = prepare(workload, post, server.ports, folder)
    [warm_up] = workload.connections([_WARM_UP_CONNECTIONS])
    run_client(warm_up, _WARM_UP_S)
    for connections in workload.connections(plan.connections):
        _drain(server, workload, say)
        pids = server.family.members()
        before = cpu_seconds(pids)
        load = run_client(connections, _seconds(plan, connections, post))
        after = cpu_seconds(pids)
        cpu = spent(before, after, pids), spent(before, after, data_path(pids))
        timed = (load.requests, load.per_second, load.p50_ms, load.p99_ms)
        yield Run(number, name, workload.name, connections, *timed, *cpu, load.errors)
    _drain(server, workload, say)


def _seconds(plan: Plan, connections: int, post: Post) -> int:
    return plan.seconds * (_LONGER if connections * len(post.body) > _MANY_BYTES else 1)


def _drain(server: Running, workload: Workload, say: Callable[[str], None]) -> None:
    """Wait until the server has worked off what the run before left behind: wrk hangs up in the middle of requests."""
    server.wait_answer(workload, _DRAIN_S)
    if not wait_idle(data_path(server.family.members()), _DRAIN_S):
        say(f"{server.kind.title} was still busy {_DRAIN_S} s after a run of {workload.name}")
