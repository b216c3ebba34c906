"""The ways to score a data set: commands, and the server that one of them asks."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.batch.data import KEY
from benchmarks.batch.outcome import APART, HTTP, MILLRACE, PANDAS, RAY
from benchmarks.batch.watch import Process, Watch
from benchmarks.batch.workloads import BATCH_ROWS, Workload
from benchmarks.isolation.live.server import serving
from cluster.processes import Family
from cluster.progress import tail

ROOT = Path(__file__).parents[2]
PROCESSES = len(os.sched_getaffinity(0))
"""That run the models: one a core."""
IN_FLIGHT = 4 * PROCESSES
"""Requests that the client of the server has under way: enough that no gateway waits for it."""
_COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]
_POLL_S, _LONGEST_S, _STOP_S = 0.02, 1800, 10


class Way(NamedTuple):
    """One way to score a data set."""

    title: str
    command: Callable[[Workload, Path, Path, int], list[str]]
    """Workload, folder of the data, folder for the output, port of a server → command."""
    server: bool = False
    """Whether it asks a running server."""


class Ended(NamedTuple):
    """A command that ended well."""

    started: float
    """In seconds since 1970."""
    seconds: float
    cpu_s: float
    processes: list[Process]
    """Its own, and those beside it."""


def batch_command(graph: Path, data: Path, output: Path, *more: str) -> list[str]:
    """The command line of `millrace batch`."""
    job = ["batch", str(graph), "--input", str(data / "*.parquet"), "--output", str(output), "--keep", KEY]
    return [*_COMMAND, *job, "--root", str(ROOT), *more]


def _millrace(workload: Workload, data: Path, output: Path, port: int, *more: str) -> list[str]:
    options = ["--processes", str(PROCESSES), "--batch-rows", str(BATCH_ROWS)]
    return batch_command(workload.graph, data, output, *options, *more)


def _apart(workload: Workload, data: Path, output: Path, port: int) -> list[str]:
    return _millrace(workload, data, output, port, "--profile", "apart")


def _script(name: str) -> Callable[[Workload, Path, Path, int], list[str]]:
    def command(workload: Workload, data: Path, output: Path, port: int) -> list[str]:
        last = [str(port), str(IN_FLIGHT)] if port else [str(PROCESSES)]
        return [sys.executable, "-m", f"benchmarks.batch.ways.{name}", workload.name, str(data), str(output), *last]

    return command


WAYS = {
    MILLRACE: Way("`millrace batch`", _millrace),
    RAY: Way("Ray Data by hand", _script("ray_data")),
    PANDAS: Way("pandas and threads", _script("pandas_loop")),
    HTTP: Way("the running server, over HTTP", _script("http_client"), server=True),
    APART: Way("`millrace batch`, each node apart", _apart),
}
"""By name, in the order in which a round runs them."""


@contextmanager
def server_of(workload: Workload) -> Iterator[tuple[int, Callable[[], list[int]]]]:
    """A server of the workload's graph with as many gateways as jobs have processes; its port and its processes."""
    graph: dict[str, Any] = yaml.safe_load(workload.graph.read_text())
    del graph["profiles"]
    with serving([graph], gateway={"replicas": PROCESSES, "cpus": 1}) as server:
        yield server.http_port, lambda: session_of(server.pid)


def run(command: Sequence[str], beside: Callable[[], list[int]] = list) -> Ended:
    """Run a command to its end.

    Args:
        beside: processes that work for it and are not its own.

    Raises:
        RuntimeError: it failed, or takes for ever; the end of its log is in the message.
    """
    with temporary() as folder:
        log = folder / "log"
        before = Watch(beside).once()
        started, began = time.time(), time.monotonic()
        with log.open("wb") as output:
            family = Family(command, environment(folder), output)
        try:
            with Watch(lambda: [*family.members(), *beside()]) as watch:
                seconds = _wait(family.child, began, log)
        finally:
            family.end(_STOP_S)
    return Ended(started, seconds, watch.cpu_s - before.cpu_s, list(watch.processes.values()))


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables of every command: nothing of Ray's from whoever calls us, and one thread a library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(folder), "RAY_AUTH_MODE": "disabled"}
    return {**kept, **own, "RAY_USAGE_STATS_ENABLED": "0", **(more or {})}


@contextmanager
def temporary() -> Iterator[Path]:
    """A folder for what Ray writes. Not below TMPDIR: the paths of its Unix sockets may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="mb-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def session_of(server: int) -> list[int]:
    """Processes of what `millrace run` started: its only child leads their session."""
    leaders = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    pids = filter(str.isdigit, os.listdir("/proc"))
    return [int(pid) for pid in pids if _session(pid) in leaders]


def _session(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3]
    except OSError:
        return ""  # it has ended


def _wait(child: subprocess.Popen[bytes], began: float, log: Path) -> float:
    while (code := child.poll()) is None and time.monotonic() - began < _LONGEST_S:
        time.sleep(_POLL_S)
    if code != 0:
        what = f"still runs after {_LONGEST_S} s" if code is None else f"ended with {code}"
        raise RuntimeError(f"{child.args!r} {what}:\n{tail(log)}")
    return time.monotonic() - began
