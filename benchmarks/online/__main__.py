"""The command `python -m benchmarks.online`."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from benchmarks.online.export import export_models
from benchmarks.online.launch import KINDS
from benchmarks.online.machine import describe_machine
from benchmarks.online.measure import Plan, Run, measure
from benchmarks.online.plot import draw
from benchmarks.online.report import number, render
from benchmarks.online.summary import summarise
from benchmarks.online.workloads import make_workloads
from benchmarks.online.wrk import require_wrk
from cluster.progress import Failed
from configs.errors import ConfigError, MillraceError

FOLDER = Path(__file__).parent
CONNECTIONS = "1,32,512"
WORKLOADS = (
    "tiny,batchable,pipeline,tensor-json,tensor-binary,grpc-tiny,grpc-tensor,"
    "triton-http-tiny,triton-http-tensor,triton-grpc-tiny,triton-grpc-tensor"
)
SERVERS = ",".join(KINDS)
ROUNDS = 3

out = Console(highlight=False, soft_wrap=True)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each server is started and measured.")] = ROUNDS,
    seconds: Annotated[int, typer.Option(min=1, help="Length of one timed run.")] = 4,
    connections: Annotated[str, typer.Option(help="Requests in flight; some clients have a most.")] = CONNECTIONS,
    servers: Annotated[str, typer.Option(help="Servers to compare.")] = SERVERS,
    workloads: Annotated[str, typer.Option(help="What they serve.")] = WORKLOADS,
    quick: Annotated[bool, typer.Option("--quick", help="1 round of 3 s: tiny and pipeline, 32 connections.")] = False,
) -> None:
    """Compare Millrace with FastAPI and Ray Serve; only a whole run replaces RESULTS.md and results.png."""
    if quick:
        rounds, seconds, connections, workloads = 1, 3, "32", "tiny,pipeline"
    require_wrk()
    known = make_workloads()
    counts = [int(count) for count in _chosen("--connections", connections, map(str, range(1, 10_001)))]
    chosen = _chosen("--servers", servers, KINDS), _chosen("--workloads", workloads, known)
    export_models()
    plan = Plan(rounds, seconds, counts, chosen[0], [known[name] for name in chosen[1]])
    machine = describe_machine()
    runs: list[Run] = []
    try:
        for run in measure(plan, out.print):
            runs.append(run)
            out.print(_line(run))
    finally:  # what was measured is kept, whatever ends the run
        _write_raw(machine, plan, runs)
    whole = rounds >= ROUNDS and [connections, servers, workloads] == [CONNECTIONS, SERVERS, WORKLOADS]
    _write(machine, plan, runs, whole)


def _chosen(option: str, text: str, known: Iterable[str]) -> list[str]:
    """The names in a list with commas. Raises ConfigError for one that is not known."""
    names, allowed = text.split(","), list(known)
    for name in names:
        if name not in allowed:
            choice = ", ".join(allowed) if len(allowed) < 10 else f"{allowed[0]} to {allowed[-1]}"
            raise ConfigError(f"{option}: {name!r} is not known; choose from {choice}")
    return names


def _line(run: Run) -> str:
    flag = f"  [red]errors: {run.errors}[/red]" if run.errors else ""
    return (
        f"  {run.server:9} {run.workload:18} {run.connections:4} connections  {number(run.per_second):>7} requests/s"
        f"  p50 {number(run.p50_ms)} ms  p99 {number(run.p99_ms)} ms  CPU {run.cpu_per_1000:.3f} s per 1,000{flag}"
    )


def _write_raw(machine: Mapping[str, str], plan: Plan, runs: list[Run]) -> None:
    raw = FOLDER / "results" / f"{machine['date'].replace(' UTC', '').replace(' ', 'T').replace(':', '')}.json"
    raw.parent.mkdir(exist_ok=True)
    document = {"machine": machine, "seconds": plan.seconds, "runs": [run.to_json() for run in runs]}
    raw.write_text(json.dumps(document, indent=1) + "\n")
    out.print(f"raw results: {raw}")


def _write(machine: Mapping[str, str], plan: Plan, runs: list[Run], whole: bool) -> None:
    summaries = summarise(runs)
    page = render(machine, plan.rounds, plan.seconds, summaries)
    if whole:
        (FOLDER / "RESULTS.md").write_text(page)
        draw(summaries, FOLDER / "results.png")
    else:
        out.print(escape(page))


if __name__ == "__main__":
    try:
        typer.run(main)
    except (MillraceError, Failed, RuntimeError, ValueError) as error:  # ends the run: a server that fails or is wrong
        Console(stderr=True, highlight=False).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
