"""The command `python -m benchmarks.isolation.live`: the batch size under a latency objective, in real time.

As `sizes.py`, but with the batcher's own thread, the real clock and a model that sleeps: what the machine adds (threads
that are woken late, an event loop that is busy) is in the figures. Run it on a machine that does nothing else.
"""

import asyncio
import random
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from benchmarks.isolation.sizes import EACH_S, FIXED_S, P99_S
from benchmarks.online.machine import describe_machine
from configs.graph import Batch
from graphs.batcher import Batcher

RESULTS = Path(__file__).parent / "results" / "LIVE.md"
SWEEP = (8, 16, 32, 48, 56, 64, 72, 80, 96)
NOISE = 0.1
MOST = 256
Served = tuple[float, float, float]
"""Answers a second, p99 in seconds, most rows in a call on average."""

out = Console(highlight=False, soft_wrap=True)


def sleeping(rows: dict[str, np.ndarray], count: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """A model whose calls cost what those of `sizes.py` cost."""
    seconds = (FIXED_S + EACH_S * count) * random.lognormvariate(0, NOISE)
    time.sleep(seconds)
    return rows, {"model": seconds}


async def served(batch: Batch, clients: int, seconds: float) -> Served:
    """Clients that ask again as soon as they are answered; the first quarter is not counted."""
    batcher: Batcher[str] = Batcher(sleeping, batch)
    row = {"x": np.zeros((1, 4), np.float32)}
    began = time.monotonic()
    took: list[float] = []
    sizes: list[int] = []

    async def client() -> None:
        while (asked := time.monotonic()) < began + seconds:
            await batcher(row, 1)
            if asked > began + seconds / 4:
                took.append(time.monotonic() - asked)
                sizes.append(batcher.max_rows)

    await asyncio.gather(*(client() for _ in range(clients)))
    batcher.close()
    return len(took) / (seconds * 0.75), float(np.quantile(took, 0.99)), float(np.mean(sizes))


def main(seconds: Annotated[float, typer.Option(help="Of each run.")] = 20) -> None:
    """Sweep fixed sizes, then let the batcher find one; replaces results/LIVE.md."""
    random.seed(1)
    lines = ["# Batch size under a p99 of 100 ms, in real time", ""]
    lines += [f"- {name}: {value}" for name, value in describe_machine().items() if name in ("date", "commit", "CPU")]
    lines += ["", "| most rows in a call | answers/s | p99 ms |", "| --- | --- | --- |"]
    for rows in SWEEP:
        # Twice as many clients as rows: while one call runs, the next one fills.
        rate, p99_s, _ = asyncio.run(served(Batch(max_rows=rows), 2 * rows, seconds))
        lines.append(f"| {rows} | {rate:,.0f} | {p99_s * 1e3:.1f} |")
        out.print(lines[-1])
    for clients in (128, 136):
        objective = Batch(max_rows=MOST, p99_ms=P99_S * 1e3)
        rate, p99_s, size = asyncio.run(served(objective, clients, seconds))
        lines.append(f"| **found**, {size:.1f}, with {clients} clients | {rate:,.0f} | {p99_s * 1e3:.1f} |")
        out.print(lines[-1])
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
