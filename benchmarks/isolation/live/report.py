"""The live results as Markdown."""

from collections.abc import Mapping, Sequence

from benchmarks.isolation.hedging import SLOWER, STALLED, Tail
from benchmarks.isolation.live.hedging import CALL_S, CLIENTS
from benchmarks.isolation.live.overload import PATIENCE_S, Overload
from benchmarks.isolation.live.sizes import Served
from benchmarks.isolation.report import Aim, aims_table, overload_and_hedging, table, tails_table
from benchmarks.isolation.sizes import P99_S


def aims(measured: Overload, plain: Tail, hedged: Tail) -> list[Aim]:
    """Everything that the live run must show."""
    return overload_and_hedging([run.load for run in measured.loads], plain, hedged)


def render(
    machine: Mapping[str, str], served: Sequence[tuple[str, Served]], measured: Overload, plain: Tail, hedged: Tail
) -> str:
    """The whole page."""
    before, after = measured.capacities
    parts = [
        "# Isolation, live",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        "How it is measured: [benchmarks/README.md](../../README.md#isolation-what-requests-do-to-each-other).",
        "![Overload, hedged calls](live.png)",
        "## Aims",
        aims_table(aims(measured, plain, hedged)),
        f"## Overload: capacity {before:,.0f} answers/s before, {after:,.0f} after; clients that wait "
        f"{PATIENCE_S * 1e3:g} ms",
        _loads(measured),
        f"## Hedging: {STALLED:.0%} of calls of {CALL_S * 1e3:g} ms take {SLOWER} × as long, {CLIENTS} clients",
        tails_table([plain, hedged]),
        f"## Batch size under a p99 of {P99_S * 1e3:g} ms",
        table(["most rows in a call", "answers/s", "p99 ms"], [[name, *_served(run)] for name, run in served]),
    ]
    return "\n\n".join(parts) + "\n"


def _loads(measured: Overload) -> str:
    rows = [
        [
            f"{run.load.times:g} ×",
            f"{run.load.goodput:.2f}",
            f"{run.load.refused:.1%}",
            f"{run.load.late:.1%}",
            f"{run.p99_s * 1e3:.0f}",
            f"{run.behind_s * 1e3:.1f}",
            f"{run.busy:.0%}",
        ]
        for run in measured.loads
    ]
    head = ["arrivals", "in time, capacity = 1", "refused at once", "late", "p99 ms of those in time"]
    return table([*head, "generator: p99 ms behind its plan", "its share of a core"], rows)


def _served(run: Served) -> list[str]:
    return [f"{run.per_second:,.0f}", f"{run.p99_s * 1e3:.1f}"]
