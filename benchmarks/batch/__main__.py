"""The command `python -m benchmarks.batch`."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.batch.launch import ROOT, WAYS
from benchmarks.batch.memory import TIMES, bounded
from benchmarks.batch.outcome import Outcome, keep
from benchmarks.batch.report import aims, render
from benchmarks.batch.run import Amount, measure
from benchmarks.batch.workloads import WORKLOADS
from benchmarks.online.export import export_models
from benchmarks.online.machine import describe_machine

HERE = Path(__file__).parent
_SHOWN = ("date", "commit", "cores", "load average before", "ray", "torch", "numpy")
_QUICK = 0.2

out = Console(highlight=False, soft_wrap=True)


def main(
    rounds: Annotated[int, typer.Option(help="Every way runs once a round.")] = 3,
    workloads: Annotated[str, typer.Option(help="With commas between.")] = ",".join(WORKLOADS),
    ways: Annotated[str, typer.Option(help="With commas between; the first is what others are compared with.")] = (
        ",".join(WAYS)
    ),
    memory: Annotated[bool, typer.Option(help="Also a job over ten times the object store.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="One round, a fifth of the rows; prints only.")] = False,
) -> None:
    """A graph over files beside other ways to do it; replaces RESULTS.md if all of it is run.

    Ends with 1 if an aim is missed. Run it on a machine that does nothing else.
    """
    machine = {name: value for name, value in describe_machine().items() if not name[0].islower() or name in _SHOWN}
    subprocess.run([sys.executable, "-m", "examples.digits.train"], cwd=ROOT, check=True)
    export_models()
    amount = Amount(1, _QUICK) if quick else Amount(rounds, 1)
    chosen = [WORKLOADS[name] for name in workloads.split(",") if name]
    with TemporaryDirectory() as folder:
        runs = list(measure(Path(folder), chosen, ways.split(","), amount, out.print))
    with TemporaryDirectory() as folder:
        found = bounded(Path(folder), 2 if quick else TIMES, out.print) if memory else None
    command = "python -m benchmarks.batch" + (f" --rounds {rounds}" if rounds != 3 else "")
    outcome = Outcome(machine, command, runs, found)
    out.print(escape(render(outcome)))
    if not quick and found is not None and len({(run.workload, run.way) for run in runs}) == len(WORKLOADS) * len(WAYS):
        (HERE / "results").mkdir(exist_ok=True)
        keep(outcome, HERE / "results" / "batch.json")
        (HERE / "RESULTS.md").write_text(render(outcome))
    sys.exit(0 if all(met for *_, met in aims(outcome)) else 1)


if __name__ == "__main__":
    typer.run(main)
