"""The results as Markdown."""

import math
from collections.abc import Iterable, Mapping

from benchmarks.online import aims
from benchmarks.online.launch import KINDS
from benchmarks.online.summary import BASES, Key, Summary

_NOTE = """\
Requests per second, latency and CPU time are medians over the rounds. A ratio is taken within each round, and the
median of the ratios is shown. *CPU s* are seconds per 1,000 requests, of all the server's processes and of those
alone that a request passes through (proxy and replicas). Where connections × time for a request is longer than a
run, as for the JSON tensor at 512 connections (measured five times as long), latencies are those of the requests that
were answered in time (– where there was none). Over gRPC, connections are calls in flight, and a bare grpc.aio server
takes FastAPI's part. How it is measured: [benchmarks/README.md](../README.md)."""


def render(machine: Mapping[str, str], rounds: int, seconds: int, summaries: Mapping[Key, Summary]) -> str:
    """The whole page."""
    about = [f"- {name}: {value}" for name, value in machine.items()]
    about.append(f"- {rounds} alternating round{'s'[: rounds != 1]} of {seconds} s a run")
    parts = ["# Online serving", "\n".join(about), _NOTE]
    if any(server == "millrace" and workload in aims.RATIO for workload, _, server in summaries):
        parts += ["## Millrace and its aims", aims_table(summaries)]
    for workload in dict.fromkeys(workload for workload, _, _ in summaries):
        parts += [f"## {workload}", workload_table(workload, summaries)]
    return "\n\n".join(parts) + "\n"


def aims_table(summaries: Mapping[Key, Summary]) -> str:
    """Millrace against what it aims at, one row a workload."""
    rows = []
    for workload, aim in aims.RATIO.items():
        many = summaries.get((workload, aims.CONNECTIONS, "millrace"))
        one = summaries.get((workload, 1, "millrace"))
        ratio = many.ratio if many else None
        above = one.p50_above_ms if one else None
        if ratio is None and above is None:
            continue
        ratio_cell, above_cell = _times(ratio), "–" if above is None else f"{above:+.2f}"
        met = "" if ratio is None else _mark(ratio >= aim)
        near = "" if above is None else _mark(above <= aims.ABOVE_MS)
        rows.append([workload, ratio_cell, f"≥ {aim:g} ×", met, above_cell, f"≤ {aims.ABOVE_MS:g}", near])
    at = f"requests/s at {aims.CONNECTIONS} connections, FastAPI = 1"
    return _table(["workload", at, "aim", "", "p50 above FastAPI's at 1 connection, ms", "aim", ""], rows)


def workload_table(workload: str, summaries: Mapping[Key, Summary]) -> str:
    """Every server at every number of connections."""
    head = [
        "connections",
        "server",
        "requests/s",
        f"× {_base(workload, summaries)}",
        "p50 ms",
        "p99 ms",
        "CPU s",
        "of it data path",
        "errors",
    ]
    rows = [
        [
            str(connections),
            KINDS[server].title,
            number(summary.per_second),
            _times(summary.ratio),
            number(summary.p50_ms),
            number(summary.p99_ms),
            number(summary.cpu_per_1000),
            number(summary.data_path_cpu_per_1000),
            f"**{summary.errors}**" if summary.errors else "0",
        ]
        for (name, connections, server), summary in _sorted(workload, summaries)
    ]
    return _table(head, rows)


def number(value: float) -> str:
    """Three significant digits; thousands with a comma; a dash for NaN."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _sorted(workload: str, summaries: Mapping[Key, Summary]) -> list[tuple[Key, Summary]]:
    order = list(KINDS)
    of_workload = [(key, summary) for key, summary in summaries.items() if key[0] == workload]
    return sorted(of_workload, key=lambda item: (item[0][1], order.index(item[0][2])))


def _base(workload: str, summaries: Mapping[Key, Summary]) -> str:
    found = [title for base, title in BASES.items() if any((key[0], key[2]) == (workload, base) for key in summaries)]
    return found[0] if found else BASES["fastapi"]


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{number(ratio)} ×"


def _mark(met: bool) -> str:
    return "✓" if met else "✗"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
