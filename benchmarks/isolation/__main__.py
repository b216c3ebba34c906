"""The command `python -m benchmarks.isolation`."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.isolation.hedging import tail
from benchmarks.isolation.overload import LOADS, load
from benchmarks.isolation.plot import draw
from benchmarks.isolation.report import OVERLOAD, aims, render
from benchmarks.isolation.sizes import NOISES, sizes
from benchmarks.online.machine import describe_machine

RESULTS = Path(__file__).parent / "results"

out = Console(highlight=False, soft_wrap=True)


def main(quick: Annotated[bool, typer.Option("--quick", help="A tenth of the time; prints only.")] = False) -> None:
    """Simulate overload and batch sizes, hedge stalling calls; replaces results/. Ends with 1 if an aim is missed."""
    sys.exit(asyncio.run(_main(quick)))


async def _main(quick: bool) -> int:
    machine = {name: value for name, value in describe_machine().items() if name in ("date", "commit", "CPU", "Python")}
    out.print("batch sizes, simulated …")
    found = [await sizes(noise, 10 if quick else 60) for noise in NOISES]
    out.print("overload, simulated …")
    loads = [
        await load(times, deadlines, 4 if quick else 16)
        for deadlines in (True, False)
        for times in ((OVERLOAD,) if quick else LOADS)
    ]
    out.print("hedging, simulated …")
    plain, hedged = [await asyncio.to_thread(tail, on, 5_000 if quick else 40_000) for on in (False, True)]
    page = render(machine, found, loads, plain, hedged)
    out.print(escape(page))
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "RESULTS.md").write_text(page)
        draw(found, loads, plain, hedged, RESULTS / "isolation.png")
    return 0 if all(met for *_, met in aims(found, loads, plain, hedged)) else 1


if __name__ == "__main__":
    typer.run(main)
