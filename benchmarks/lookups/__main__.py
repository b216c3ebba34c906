"""The command `python -m benchmarks.lookups`."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.lookups.measure import BATCH
from benchmarks.lookups.stores import OURS, STORES, missing
from benchmarks.online.machine import describe_machine

PAGE = Path(__file__).parent / "RESULTS.md"
_SHOWN = ("date", "commit", "CPU", "load average before", "Python", "numpy")
_COLUMNS = ["store", "1 row p50 µs", "p99", "p99 CPU", "p50 ratio"]
_COLUMNS += [f"{BATCH} rows p50 µs", "p99", "p99 CPU", "p50 ratio"]
_COLUMNS += ["write s", "file MB", "open ms", "own MB", "shared MB"]

Figures = dict[str, float]


def main(
    keys: Annotated[int, typer.Option(help="Rows of the table.")] = 1_000_000,
    rounds: Annotated[int, typer.Option(help="How often each store is asked, in turns.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="A small table, once; prints only.")] = False,
) -> None:
    """Rows by their keys out of several stores; replaces RESULTS.md. Fails if an answer is wrong."""
    keys, rounds = (20_000, 1) if quick else (keys, rounds)
    stores = [name for name in STORES if name not in missing()]
    machine = describe_machine()
    with TemporaryDirectory() as place:
        folders = {name: Path(place) / str(number) for number, name in enumerate(stores)}
        written = {name: _child("write", name, folders[name], keys) for name in stores}
        asked = [{name: _child("ask", name, folders[name], keys) for name in stores} for _ in range(rounds)]
    page = "\n".join([*_head(machine, keys, rounds), *_table(written, asked), *_left_out()]) + "\n"
    print(page)
    if not quick:
        PAGE.write_text(page)


def _child(what: str, name: str, folder: Path, count: int) -> Figures:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.lookups.measure", what, name, str(folder), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def _head(machine: dict[str, str], keys: int, rounds: int) -> list[str]:
    return [
        "# Lookups: a row by its key",
        "",
        "How it is measured: [benchmarks/README.md](../README.md#lookups-a-row-by-its-key).",
        "",
        *(f"- {name}: {machine[name]}" for name in _SHOWN),
        f"- {keys:,} keys of 15 bytes, rows of 120 bytes; medians of {rounds} rounds",
        "",
    ]


def _table(written: dict[str, Figures], asked: list[dict[str, Figures]]) -> list[str]:
    lines = [f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    for name, new in written.items():
        rounds = [each[name] for each in asked]
        of = {figure: median(each[figure] for each in rounds) for figure in rounds[0]}
        cells = [name]
        for size in (1, BATCH):
            ratio = median(each[name][f"p50 {size}"] / each[OURS][f"p50 {size}"] for each in asked)
            cells += [f"{of[f'{figure} {size}']:.1f}" for figure in ("p50", "p99", "cpu")]
            cells.append(f"{ratio:.2f}")
        cells += [f"{new['write_s']:.1f}", f"{new['file'] / 1e6:.0f}", f"{of['open_s'] * 1e3:.0f}"]
        cells += [f"{of['own'] / 1e6:.0f}", f"{of['shared'] / 1e6:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _left_out() -> list[str]:
    return [f"\nLeft out, since it is not installed: {name} (`pip install lmdb`)." for name in missing()]


if __name__ == "__main__":
    typer.run(main)
