"""The command `python -m benchmarks.versions`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.online.machine import describe_machine
from benchmarks.versions.models import INLINE, NETWORK, PLACED
from benchmarks.versions.outcome import Outcome, keep, kept
from benchmarks.versions.plot import draw
from benchmarks.versions.report import aims, render
from benchmarks.versions.run import Amount, run
from benchmarks.versions.summary import summarise

HERE = Path(__file__).parent
PROXIES = ("haproxy", "python")
_SHOWN = ("date", "commit", "cores", "load average before", "ray", "grpcio")

out = Console(highlight=False, soft_wrap=True)


def main(
    swaps: Annotated[int, typer.Option(help="Versions of the model in the gateway that take over.")] = 100,
    placed: Annotated[int, typer.Option(help="Versions of the model in a process of its own that take over.")] = 30,
    proxy: Annotated[str, typer.Option(help="`haproxy`, `python`, or both with a comma.")] = ",".join(PROXIES),
    minutes: Annotated[float, typer.Option(help="After so long under kills no further version is published.")] = 40,
    quick: Annotated[bool, typer.Option("--quick", help="A few swaps; prints only.")] = False,
) -> None:
    """New versions under load; replaces RESULTS.md and results.png.

    The last outcome behind a proxy that is not asked for stays on the page. Ends with 1 if an aim is missed. Run it on
    a machine that does nothing else.
    """
    amount = Amount(60, {INLINE: 20, NETWORK: 10, PLACED: 6}, 60, {INLINE: swaps, PLACED: placed}, minutes * 60)
    if quick:
        amount = Amount(10, {INLINE: 4, NETWORK: 2, PLACED: 2}, 10, {INLINE: 8, PLACED: 3}, 180)
    outcomes = [_one(each, amount) for each in proxy.split(",")]
    out.print(escape(render(outcomes)))
    if not quick:
        _write(outcomes)
    sys.exit(0 if all(met for outcome in outcomes for *_, met in aims(outcome)) else 1)


def _one(proxy: str, amount: Amount) -> Outcome:
    machine = {name: value for name, value in describe_machine().items() if not name[0].islower() or name in _SHOWN}
    return summarise(proxy, machine, run(proxy, amount, out.print))


def _write(outcomes: list[Outcome]) -> None:
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    for outcome in outcomes:
        keep(outcome, folder / f"{outcome.proxy}.json")
    every = [kept(file) for proxy in PROXIES if (file := folder / f"{proxy}.json").exists()]
    (HERE / "RESULTS.md").write_text(render(every))
    draw(every, HERE / "results.png")


if __name__ == "__main__":
    typer.run(main)
