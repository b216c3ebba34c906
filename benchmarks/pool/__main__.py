"""The command `python -m benchmarks.pool`."""

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.pool.lru import lru
from benchmarks.pool.simulated import simulate

MODELS, FIT = 200, 20
REQUESTS = 6_000
RATE = 20.0
"""Requests a second: about nine loads a second, of 0.1 s each."""


def main() -> None:
    """200 models of which 20 fit, asked for as by Zipf(1.1). Ends with 1 if an answer is wrong or an aim is missed."""
    table = Table("sizes", "way", "hits", "most bytes / limit", "loads", "cold p50, p99 s", "warm longest s")
    met = [part(table, name, spread) for name, spread in (("equal", 0.0), ("different", 1.2))]
    Console(width=120).print(table)
    sys.exit(not all(met))


def part(table: Table, name: str, spread: float) -> bool:
    """Rows for models of equal or different sizes; whether the aims are met."""
    asked, gaps_s, sizes, limit = workload(spread, REQUESTS)
    ideal = lru(asked, sizes, limit, by_bytes=True)
    table.add_row(name, "ideal LRU by bytes", *_cells(ideal.hit_rate, ideal.most_bytes / limit))
    runs = [simulate(asked, gaps_s, sizes, limit, files) for files in (1.0, 2 / 3)]
    for run, files in zip(runs, ("", ", files a third smaller"), strict=True):
        cold = "{:.2f}, {:.2f}".format(*np.quantile(run.cold_s, [0.5, 0.99]))
        cells = *_cells(run.hit_rate, run.most_bytes / limit), str(run.loads), cold, f"{max(run.warm_s):.4f}"
        table.add_row(name, f"pool{files}", *cells)
    for why, count in (("mean", limit // mean(sizes)), ("largest", limit // max(sizes.values()))):
        other = lru(asked, sizes, count, by_bytes=False)
        row = f"LRU by count, {count}: limit / {why}"
        table.add_row(name, row, *_cells(other.hit_rate, other.most_bytes / limit))
    right = not any(run.wrong or run.failed or max(run.warm_s) > 0 for run in runs)
    return right and runs[0].most_bytes <= limit and runs[0].hit_rate > 0.9 * ideal.hit_rate


def _cells(hit_rate: float, most: float) -> tuple[str, str]:
    return f"{hit_rate:.3f}", f"{most:.2f}"


def workload(spread: float, requests: int) -> tuple[list[str], list[float], dict[str, int], int]:
    """Models asked for, seconds before each, bytes of each model, and bytes of the pool.

    Args:
        spread: of the logarithm of sizes; which models are popular has nothing to do with it.
    """
    random = np.random.default_rng(7)
    sizes = 10e6 * np.exp(random.normal(0, spread, MODELS) - spread**2 / 2)
    weights = 1 / np.arange(1, MODELS + 1) ** 1.1
    asked = random.choice(MODELS, requests, p=weights / weights.sum())
    named = {f"model-{i}": int(size) for i, size in enumerate(sizes)}
    gaps_s = random.exponential(1 / RATE, requests)
    return [f"model-{i}" for i in asked], gaps_s.tolist(), named, FIT * mean(named)


def mean(sizes: dict[str, int]) -> int:
    """Bytes of the average model."""
    return sum(sizes.values()) // len(sizes)


if __name__ == "__main__":
    main()
