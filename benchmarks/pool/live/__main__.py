"""The command `python -m benchmarks.pool.live`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.online.machine import describe_machine
from benchmarks.pool.live.models import FAMILIES
from benchmarks.pool.live.plot import draw
from benchmarks.pool.live.report import aims, grouped, render
from benchmarks.pool.live.run import Amount, run
from benchmarks.pool.live.servers import SERVERS

HERE = Path(__file__).parent
_SHOWN = ("date", "commit", "cores", "load average before", "ray")

out = Console(highlight=False, soft_wrap=True)


def main(
    rounds: Annotated[int, typer.Option(help="Every server is started once a round.")] = 2,
    families: Annotated[str, typer.Option(help="Of models, with commas between.")] = ",".join(FAMILIES),
    servers: Annotated[str, typer.Option(help="With commas between.")] = ",".join(SERVERS),
    quick: Annotated[bool, typer.Option("--quick", help="One short round; prints only.")] = False,
) -> None:
    """200 models of which 20 fit, behind real servers; replaces RESULTS.md and results.png if all of it is run.

    Ends with 1 if an aim is missed. Run it on a machine that does nothing else.
    """
    amount = Amount(1, 1, 10, 20) if quick else Amount(rounds, 2, 20, 40)
    machine = {name: value for name, value in describe_machine().items() if not name[0].islower() or name in _SHOWN}
    with TemporaryDirectory() as folder:
        found = list(run(Path(folder), families.split(","), servers.split(","), amount, out.print))
    groups = grouped(found)
    command = "python -m benchmarks.pool.live" + (f" --rounds {rounds}" if rounds != 2 else "")
    page = render(machine, command, groups)
    out.print(escape(page))
    if not quick and len(groups) == len(FAMILIES) * len(SERVERS):
        (HERE / "RESULTS.md").write_text(page)
        draw(groups, HERE / "results.png")
    sys.exit(0 if all(met for *_, met in aims(groups)) else 1)


if __name__ == "__main__":
    typer.run(main)
