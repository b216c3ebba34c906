"""CPU time of a server's processes, read from /proc (proc(5))."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_DATA_PATH = ("ray::ServeReplica", "ray::ProxyActor", "haproxy", "uvicorn", "benchmarks.online.servers.grpc_app")
"""Programs that a request passes through; the rest of a Ray cluster watches and reports."""


def is_data_path(command: str) -> bool:
    """Whether this command line (words separated by NUL) is of a process that a request passes through."""
    words = command.split("\0")
    return any(Path(word).name.startswith(_DATA_PATH) for word in words[:3])


def data_path(pids: Iterable[int]) -> set[int]:
    """Those of these processes that a request passes through."""
    return {pid for pid in pids if is_data_path(_read(pid, "cmdline"))}


def cpu_seconds(pids: Iterable[int]) -> dict[int, float]:
    """User and system time of each process so far, in seconds; of those that have ended nothing."""
    stats = {pid: _read(pid, "stat") for pid in pids}
    return {pid: cpu_of(stat) for pid, stat in stats.items() if stat}


def cpu_of(stat: str) -> float:
    """utime + stime of one line of /proc/pid/stat, in seconds. The name in it may hold spaces and brackets."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def spent(before: dict[int, float], after: dict[int, float], pids: Iterable[int]) -> float:
    """Seconds that these processes used between two readings."""
    return sum(after[pid] - before.get(pid, 0.0) for pid in pids if pid in after)


def wait_idle(pids: Iterable[int], timeout_s: float) -> bool:
    """Wait until none of these processes works any more. False if one still does after `timeout_s`.

    Idle is below a third of a core, twice in a row: a server that works off its queue has a process far above.
    """
    pids, period, quiet = list(pids), 0.3, 0
    deadline = time.monotonic() + timeout_s
    before = cpu_seconds(pids)
    while quiet < 2 and time.monotonic() < deadline:
        time.sleep(period)
        now = cpu_seconds(pids)
        busiest = max((spent(before, now, [pid]) for pid in pids), default=0.0)
        quiet = quiet + 1 if busiest < period / 3 else 0
        before = now
    return quiet == 2


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""  # the process has ended
