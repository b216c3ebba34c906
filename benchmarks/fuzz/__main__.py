"""The command `python -m benchmarks.fuzz`."""

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.fuzz.campaign import Findings, made
from benchmarks.fuzz.doors import DOORS
from benchmarks.fuzz.watch import LIMIT_S, Stuck, watched

RESULTS = Path(__file__).parent / "RESULTS.md"
GROWTH_BYTES = 32 << 20
"""Most that a process may grow after its warm-up, however many inputs come."""

out = Console()


def main(
    inputs: Annotated[int, typer.Option(help="How many inputs.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Other numbers make other inputs.")] = 0,
    processes: Annotated[int, typer.Option(help="Side by side.")] = 1,
    only: Annotated[int, typer.Option(help="Show and drive this one input, as a report names it.")] = -1,
    write: Annotated[bool, typer.Option(help="Write RESULTS.md.")] = False,
) -> None:
    """Drive mutations of valid requests through every decoder. Exit code 1 if anything but a refusal comes back.

    Watched: that nothing but RequestError and Unsupported is raised, how long each input takes, and memory.
    """
    if only >= 0:
        door, body, header = made(seed, only)
        out.print(f"{door}, header {header!r}, {len(body)} bytes: {body[:2000]!r}", markup=False)
        DOORS[door].run(body, header)
        return
    started = time.monotonic()
    try:
        found = watched(seed, inputs, processes)
    except Stuck as error:
        out.print(str(error))
        raise typer.Exit(1) from None
    report = _report(found, seed, inputs, processes, time.monotonic() - started)
    out.print(report, markup=False, soft_wrap=True)
    if write:
        RESULTS.write_text(report, encoding="utf-8")
    raise typer.Exit(1 if _problems(found) else 0)


def _problems(found: list[Findings]) -> list[str]:
    problems = [f"{where}\n{what}" for findings in found for where, what in findings.failures.items()]
    for findings in found:
        before, after = findings.resident
        if after - before > GROWTH_BYTES:
            problems.append(f"a process grew from {before >> 20} to {after >> 20} MiB")
    return problems


def _report(found: list[Findings], seed: int, inputs: int, processes: int, seconds: float) -> str:
    outcomes = sum((findings.outcomes for findings in found), Counter[tuple[str, str]]())
    kinds = sorted({kind for _, kind in outcomes})
    lines = [
        "# Fuzz of everything that reads a caller's bytes",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}: `python -m benchmarks.fuzz --inputs {inputs} --seed {seed}"
        f" --processes {processes}`, {inputs:,} inputs in {seconds:.0f} s.",
        "",
        f"| door | inputs | {' | '.join(kinds)} |",
        f"|---|---|{'---|' * len(kinds)}",
    ]
    for door in DOORS:
        counts = [outcomes[door, kind] for kind in kinds]
        lines.append(f"| {door} | {sum(counts):,} | {' | '.join(f'{count:,}' for count in counts)} |")
    longest, which = max(findings.slowest for findings in found)
    memory = ", ".join(f"{a >> 20} → {b >> 20} MiB" for a, b in (findings.resident for findings in found))
    lines += [
        "",
        f"- Raised beside `RequestError` and `Unsupported`: {sum(len(findings.failures) for findings in found)} kinds.",
        f"- Slowest input: {longest * 1e3:.0f} ms of CPU time ({which}); the watchdog's limit is {LIMIT_S:g} s.",
        f"- Resident memory after the warm-up and at the end: {memory}; at most {GROWTH_BYTES >> 20} MiB of growth"
        " are allowed.",
    ]
    problems = _problems(found)
    return "\n".join([*lines, *(["", "## Problems", "", "```text", *problems, "```"] if problems else []), ""])


if __name__ == "__main__":
    typer.run(main)
