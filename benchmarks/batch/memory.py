"""A job over ten times as much data as Ray's object store is given, with nodes that are slower than reading."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.batch.data import WIDTH, write_vectors
from benchmarks.batch.launch import PROCESSES, batch_command, run
from benchmarks.batch.nodes_of_ray import cluster
from benchmarks.batch.outcome import Bounded, Taken
from benchmarks.batch.watch import Process
from benchmarks.batch.workloads import GRAPHS

STORE = 250_000_000
"""Bytes of the object store."""
TIMES = 10
_ROW = 4 * WIDTH


def bounded(folder: Path, times: float, say: Callable[[str], None]) -> Bounded:
    """Run it.

    Args:
        folder: empty; holds data and output meanwhile.
        times: bytes of data, object store = 1.

    Raises:
        RuntimeError: the job or the cluster failed.
    """
    data, output, rows = folder / "data", folder / "scored", int(times * STORE / _ROW)
    say(f"memory: {rows:,} rows of {_ROW:,} bytes …")
    write_vectors(data, rows)
    with cluster() as ray:
        ray.add(PROCESSES, STORE)
        options = ["--address", ray.address, "--processes", str(PROCESSES)]
        ended = run(batch_command(GRAPHS / "memory.yaml", data, output, *options), ray.members)
        spills = ray.spills()
    out = sum(pq.read_metadata(file).num_rows for file in output.glob("*.parquet"))
    read = sum(file.stat().st_size for file in data.iterdir())
    store = max(process.store_bytes for process in ended.processes)
    return Bounded(rows, read, STORE, store, spills, taken(ended.processes), ended.seconds, out)


def taken(processes: list[Process]) -> list[Taken]:
    """The most that one process of each kind took, the largest first."""
    kinds: dict[str, list[Process]] = defaultdict(list)
    for process in processes:
        kinds[process.name].append(process)
    found = [
        Taken(name, len(of), max(p.own_bytes for p in of), max(p.resident_bytes for p in of))
        for name, of in kinds.items()
    ]
    return sorted(found, key=lambda each: -each.own)
