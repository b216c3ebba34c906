"""Jobs that are disturbed, one after the other, and what they leave."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from benchmarks.batch.data import write
from benchmarks.batch.faults.judge import done, judge
from benchmarks.batch.faults.kills import FAULTS, Alive, Fault, kill
from benchmarks.batch.faults.outcome import Disturbed, Undisturbed
from benchmarks.batch.launch import batch_command, environment, temporary
from benchmarks.batch.nodes import REFUSED
from benchmarks.batch.nodes_of_ray import Cluster, cluster
from benchmarks.batch.workloads import GRAPHS
from cluster.processes import Family
from cluster.progress import tail

PART_ROWS, FILE_ROWS = 300, 2000
"""The last part of a file is smaller than the others."""
PROCESSES = 2
BAD_EVERY, OUTSIDE = 97, 200
"""One row in so many is refused by the node, another has a value outside of the input's limits."""
NODE_CPUS, STORE = 2, 300_000_000
"""Of each node of a cluster: what is left has room for the processes of one that is lost."""
_LONGEST_S, _STOP_S, _LOOK_S = 600, 10, 0.02
_CPUS = '{"CPU": 4}'
"""What Ray books, whatever the machine has."""
Say = Callable[[str], None]


class Job:
    """`millrace batch` over the data of this benchmark."""

    def __init__(self, folder: Path, output: Path, ray: Cluster | None, own: Path) -> None:
        self.output = output
        self._folder, self._own = folder, own
        self._ray = ray
        self._log = own / "log"
        self._before: list[Family] = []
        self.family = self._start()
        self.began = time.monotonic()

    def resume(self) -> None:
        """Start it again; what is left of its Ray may live on beside it."""
        self._before.append(self.family)
        self.family = self._start("--resume")

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until something is true. Raises RuntimeError with the log if the job ends before, or it takes for ever."""
        deadline = time.monotonic() + _LONGEST_S
        while not condition():
            if self.family.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the job ended, or waits for ever:\n{tail(self._log)}")
            time.sleep(_LOOK_S)

    def end(self) -> bool:
        """Wait for its end. Whether it did what it was asked for."""
        deadline = time.monotonic() + _LONGEST_S
        while (code := self.family.child.poll()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return code == 0

    def check(self) -> None:
        """Raises RuntimeError with the log if it failed."""
        if not self.end():
            raise RuntimeError(f"the job failed:\n{tail(self._log)}")

    def close(self) -> None:
        """End what runs, and what is left of earlier runs."""
        for family in (*self._before, self.family):
            family.end(_STOP_S)

    def _start(self, *more: str) -> Family:
        options = ["--processes", str(PROCESSES), "--part-rows", str(PART_ROWS), "--batch-rows", "128", *more]
        options += ["--address", self._ray.address] if self._ray else []
        command = batch_command(GRAPHS / "faults.yaml", self._folder, self.output, *options)
        with self._log.open("ab") as output:
            return Family(command, environment(self._own, {"RAY_OVERRIDE_RESOURCES": _CPUS}), output)


def write_data(folder: Path, rows: int) -> None:
    """Digits with keys, of which some are bad."""
    digits = np.asarray(load_digits().images, np.uint8)
    images = digits[np.arange(rows) % len(digits)]
    images[BAD_EVERY // 2 :: BAD_EVERY, 0, 0] = REFUSED
    images[BAD_EVERY - 1 :: BAD_EVERY, 0, 0] = OUTSIDE
    for start in range(0, rows, FILE_ROWS):
        write(folder, start, "image", images[start : start + FILE_ROWS])


def measure(
    folder: Path, names: Sequence[str], rows: int, say: Say
) -> Iterator[tuple[Undisturbed | None, Disturbed | None]]:
    """Each fault by name, with an undisturbed run before those of the same kind of cluster.

    Args:
        folder: empty; holds data and outputs meanwhile.

    Raises:
        RuntimeError: a job failed even with --resume; the end of its log is in the message.
    """
    data = folder / "data"
    write_data(data, rows)
    for two_nodes in (False, True):
        chosen = [FAULTS[name] for name in names if FAULTS[name].two_nodes == two_nodes]
        if not chosen:
            continue
        say(f"undisturbed, {'two nodes' if two_nodes else 'a Ray of its own'} …")
        whole = folder / f"whole-{two_nodes}"
        with _job(data, whole, two_nodes) as (job, _):
            job.check()
            seconds = time.monotonic() - job.began
        yield Undisturbed(1 + two_nodes, seconds, len(done(whole))), None
        for fault in chosen:
            say(f"killing {fault.title} …")
            yield None, _disturbed(fault, data, folder / fault.name, whole, rows, seconds)


def _disturbed(fault: Fault, data: Path, output: Path, whole: Path, rows: int, seconds: float) -> Disturbed:
    with _job(data, output, fault.two_nodes) as (job, ray):
        alive = Alive(job.family, tuple(ray.nodes) if ray else ())
        job.wait(lambda: len(done(output)) >= fault.after and bool(fault.victims(alive)))
        before, at = set(done(output)), time.time()
        killed = kill(fault.victims(alive))
        resumed = fault.resumed
        if resumed:
            job.family.child.wait()
        else:
            resumed = not job.end()  # not as it should be: the table tells
        if resumed:
            job.resume()
            job.check()
        longer = time.monotonic() - job.began - seconds
    # What the old run's processes may still have finished is nobody's recovery.
    since = (output / "_manifest.json").stat().st_mtime if resumed else at
    later = [moment for name, moment in done(output).items() if name not in before and moment > since]
    return Disturbed(fault.title, killed, resumed, judge(output, whole, rows), min(later, default=at) - at, longer)


@contextmanager
def _job(data: Path, output: Path, two_nodes: bool) -> Iterator[tuple[Job, Cluster | None]]:
    with ExitStack() as stack:
        own = stack.enter_context(temporary())
        ray = stack.enter_context(cluster()) if two_nodes else None
        for _ in range(2 * two_nodes):
            assert ray is not None
            ray.add(NODE_CPUS, STORE)
        job = Job(data, output, ray, own)
        stack.callback(job.close)
        yield job, ray
