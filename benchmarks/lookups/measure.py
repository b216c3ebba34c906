"""One store in a process of its own: `python -m benchmarks.lookups.measure write|ask STORE FOLDER COUNT`."""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.lookups.rows import expected, key
from benchmarks.lookups.stores import STORES, Ask, Store

BATCH = 64
CALLS = {1: 30_000, BATCH: 3_000}
"""Rows of a call → how often it is timed."""
KNOWN = 0.9
"""Share of the keys that the table has."""


def write(store: Store, folder: Path, count: int) -> dict[str, float]:
    """Seconds and bytes of a new table."""
    began = time.perf_counter()
    store.write(folder, count)
    return {"write_s": time.perf_counter() - began, "file": sum(path.stat().st_size for path in folder.iterdir())}


def ask(store: Store, folder: Path, count: int) -> dict[str, float]:
    """Microseconds of calls (p50, p99; of these on the CPU) and bytes by which the process grew, by kind."""
    with TemporaryDirectory() as small:
        store.write(Path(small), 1_000)
        store.open(Path(small))([key(0)])  # what the library itself takes is there from here on
    before = _resident()
    began = time.perf_counter()
    opened = store.open(folder)
    found = {"open_s": time.perf_counter() - began}
    for size, calls in CALLS.items():
        times, cpu = _times(opened, size, calls, count).T
        found |= {f"p50 {size}": np.quantile(times, 0.5), f"p99 {size}": np.quantile(times, 0.99)}
        found[f"cpu {size}"] = np.quantile(cpu, 0.99)
    return found | {name: after - before[name] for name, after in _resident().items()}


def _times(ask: Ask, size: int, calls: int, count: int) -> np.ndarray:
    """Microseconds of each call, and those on the CPU. Every answer is compared with what it must be."""
    random = np.random.default_rng(size)
    times = []
    for _ in range(calls):
        numbers = random.integers(0, int(count / KNOWN), size)
        keys = [key(number) for number in numbers.tolist()]
        began, began_cpu = time.perf_counter(), time.thread_time()
        answer = ask(keys)
        times.append((time.perf_counter() - began, time.thread_time() - began_cpu))
        for name, right in expected(numbers, count).items():
            np.testing.assert_array_equal(answer[name], right)
    return np.array(times[calls // 10 :]) * 1e6


def _resident() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {
        name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines) if name in _PARTS
    }
    return {_PARTS[name]: size for name, size in sizes.items()}


_PARTS = {"RssAnon": "own", "RssFile": "shared"}


if __name__ == "__main__":
    what, name, folder, count = sys.argv[1:]
    print(json.dumps({"write": write, "ask": ask}[what](STORES[name], Path(folder), int(count))))
