"""The command `python -m benchmarks.isolation.live`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.markup import escape

from benchmarks.isolation.hedging import Tail
from benchmarks.isolation.live.hedging import graphs, tail
from benchmarks.isolation.live.overload import GRAPH, PATIENCE_S, Overload, overload
from benchmarks.isolation.live.report import aims, render
from benchmarks.isolation.live.server import serving
from benchmarks.isolation.live.sizes import sizes
from benchmarks.isolation.plot import draw_live
from benchmarks.online.machine import describe_machine

RESULTS = Path(__file__).parents[1] / "results"

out = Console(highlight=False, soft_wrap=True)


def main(quick: Annotated[bool, typer.Option("--quick", help="A third of the time; prints only.")] = False) -> None:
    """Overload and hedging of a real server, batch sizes in real time; replaces results/LIVE.md and live.png.

    Ends with 1 if an aim is missed. Run it on a machine that does nothing else.
    """
    machine = {name: value for name, value in describe_machine().items() if not name[0].islower() or name in _SHOWN}
    measured, plain, hedged = _served(2 if quick else 8, 8 if quick else 90)
    out.print("batch sizes …")
    page = render(machine, list(sizes(quick)), measured, plain, hedged)
    out.print(escape(page))
    if not quick:
        (RESULTS / "LIVE.md").write_text(page)
        draw_live([run.load for run in measured.loads], PATIENCE_S, plain, hedged, RESULTS / "live.png")
    sys.exit(0 if all(met for *_, met in aims(measured, plain, hedged)) else 1)


_SHOWN = ("date", "commit", "cores", "load average before", "ray")


def _served(load_s: float, tail_s: float) -> tuple[Overload, Tail, Tail]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        out.print("starting a server …")
        with serving([GRAPH, *graphs(folder)]) as server:
            out.print("overload …")
            measured = uvloop.run(overload(server.http_port, load_s))
            out.print("hedging …")
            plain, hedged = (uvloop.run(tail(server.http_port, graph, folder, tail_s)) for graph in ("plain", "hedged"))
    return measured, plain, hedged


if __name__ == "__main__":
    typer.run(main)
