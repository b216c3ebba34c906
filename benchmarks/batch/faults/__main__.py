"""The command `python -m benchmarks.batch.faults`."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.batch.faults.kills import FAULTS
from benchmarks.batch.faults.outcome import Outcome
from benchmarks.batch.faults.report import aims, render
from benchmarks.batch.faults.run import measure
from benchmarks.batch.launch import ROOT
from benchmarks.online.machine import describe_machine

HERE = Path(__file__).parent
_SHOWN = ("date", "commit", "cores", "load average before", "ray")
_ROWS, _FEW = 30_000, 8_000

out = Console(highlight=False, soft_wrap=True)


def main(
    faults: Annotated[str, typer.Option(help="With commas between.")] = ",".join(FAULTS),
    quick: Annotated[bool, typer.Option("--quick", help="Short jobs; prints only.")] = False,
) -> None:
    """Kills parts of batch jobs; replaces RESULTS.md if all faults are asked for.

    Ends with 1 if a row is lost or repeated, or an output is not that of an undisturbed run.
    """
    machine = {name: value for name, value in describe_machine().items() if not name[0].islower() or name in _SHOWN}
    subprocess.run([sys.executable, "-m", "examples.digits.train"], cwd=ROOT, check=True)
    with TemporaryDirectory() as folder:
        found = list(measure(Path(folder), faults.split(","), _FEW if quick else _ROWS, out.print))
    undisturbed, disturbed = ([one for one in each if one is not None] for each in zip(*found, strict=True))
    outcome = Outcome(machine, "python -m benchmarks.batch.faults", undisturbed, disturbed)
    out.print(escape(render(outcome)))
    if not quick and len(disturbed) == len(FAULTS):
        (HERE / "RESULTS.md").write_text(render(outcome))
    sys.exit(0 if all(met for *_, met in aims(outcome)) else 1)


if __name__ == "__main__":
    typer.run(main)
