"""Which processes a fault kills, found by their names as Ray gives them."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batch.watch import kind
from cluster.processes import Family

_WORKER = "MapWorker"
_READER = "MapBatches(read)"


@dataclass(frozen=True)
class Alive:
    """What runs when a fault comes."""

    job: Family
    nodes: tuple[Family, ...] = ()
    """Of a cluster; empty where the job has a Ray of its own."""

    def named(self, part: str) -> list[int]:
        """Processes whose name has this part."""
        pids = [pid for family in (self.job, *self.nodes) for pid in family.members()]
        return [pid for pid in pids if part in _name(pid)]


@dataclass(frozen=True)
class Fault:
    """One way to disturb a job."""

    name: str
    title: str
    victims: Callable[[Alive], list[int]]
    resumed: bool = False
    """The job ends with it, and is started again with --resume."""
    two_nodes: bool = False
    after: int = 8
    """Finished parts before it comes."""


def kill(victims: Iterable[int]) -> int:
    """SIGKILL; how many there were."""
    killed = 0
    for pid in victims:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("worker", "a process of the pool", lambda alive: alive.named(_WORKER)[:1]),
        Fault("workers", "all processes of the pool at once", lambda alive: alive.named(_WORKER)),
        Fault("loading", "a process of the pool while it loads", lambda alive: alive.named(_WORKER)[:1], after=0),
        Fault("reader", "a process that reads", lambda alive: alive.named(_READER)[:1]),
        Fault("driver", "the driver", lambda alive: [alive.job.child.pid], resumed=True),
        Fault("machine", "the driver and all of its Ray at once", lambda alive: alive.job.members(), resumed=True),
        Fault(
            "node",
            "the raylet of a second node",
            lambda alive: [pid for pid in alive.nodes[-1].members() if _name(pid) == "raylet"],
            two_nodes=True,
        ),
    )
}
"""By name, in the order of the table."""


def _name(pid: int) -> str:
    try:
        return kind(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
    except OSError:
        return ""  # it has ended
