"""The results as Markdown, with their aims."""

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.isolation.hedging import CALL_S, CLIENTS, SLOWER, STALLED, Tail
from benchmarks.isolation.overload import CAPACITY, PATIENCE_S, Load
from benchmarks.isolation.sizes import P99_S, Sizes

NEAR = 0.05
"""Most answers per second that the found batch size may lose against the best fixed one."""
OVER = 1.05
"""Most that the p99 at the found size may be, as a multiple of the objective."""
GOODPUT = 0.9
"""Least answers in time at three times the capacity, as a share of the capacity."""
OVERLOAD = 3.0
CUT = 5.0
"""Least factor by which hedging cuts the 99.9th percentile."""
EXTRA = 0.05
"""Most second calls, as a share of the calls."""

Aim = tuple[str, str, str, bool]
"""What is measured, what was measured, the aim, whether it is met."""


def aims(found: Sequence[Sizes], loads: Sequence[Load], plain: Tail, hedged: Tail) -> list[Aim]:
    """Everything that this benchmark must show."""
    rows: list[Aim] = []
    for run in found:
        share = run.found.per_second / run.best.per_second
        name = f"batch size found while serving, noise {run.noise:.0%}: answers/s, best fixed size = 1"
        rows.append((name, f"{share:.3f}", f"≥ {1 - NEAR:g}", share >= 1 - NEAR))
        over = run.found.p99_s / P99_S
        rows.append(("… its p99, objective = 1", f"{over:.3f}", f"≤ {OVER:g}", over <= OVER))
    return [*rows, *overload_and_hedging(loads, plain, hedged)]


def overload_and_hedging(loads: Sequence[Load], plain: Tail, hedged: Tail) -> list[Aim]:
    """What must be shown of these two, simulated or live."""
    good = next(load.goodput for load in loads if load.deadlines and load.times == OVERLOAD)
    name = f"goodput at {OVERLOAD:g} × capacity with deadlines, capacity = 1"
    rows = [(name, f"{good:.2f}", f"≥ {GOODPUT:g}", good >= GOODPUT)]
    cut = plain.quantile(0.999) / hedged.quantile(0.999)
    rows.append(("p99.9 without hedging : with", f"{cut:.1f}", f"≥ {CUT:g}", cut >= CUT))
    rows.append(("second calls", f"{hedged.extra:.1%}", f"≤ {EXTRA:.0%}", hedged.extra <= EXTRA))
    return rows


def render(machine: Mapping[str, str], found: Sequence[Sizes], loads: Sequence[Load], plain: Tail, hedged: Tail) -> str:
    """The whole page."""
    parts = [
        "# Isolation",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        "How it is measured: [benchmarks/README.md](../../README.md#isolation-what-requests-do-to-each-other).",
        "![Batch size, overload, hedged calls](isolation.png)",
        "## Aims",
        aims_table(aims(found, loads, plain, hedged)),
        f"## Batch size under a p99 of {P99_S * 1e3:g} ms",
        *(_sizes(run) for run in found),
        f"## Overload: capacity {CAPACITY:,.0f} answers/s, clients that wait {PATIENCE_S * 1e3:g} ms",
        _loads(loads),
        f"## Hedging: {STALLED:.0%} of calls of {CALL_S * 1e3:g} ms take {SLOWER} × as long, {CLIENTS} clients",
        tails_table([plain, hedged]),
    ]
    return "\n\n".join(parts) + "\n"


def aims_table(aims: Iterable[Aim]) -> str:
    """The aims, and whether they are met."""
    rows = [[name, value, aim, "✓" if met else "✗"] for name, value, aim, met in aims]
    return table(["", "measured", "aim", ""], rows)


def _sizes(run: Sizes) -> str:
    rows = [
        [f"{one.rows:g}", *_served(one.per_second, one.p99_s, one.late), "best" if one is run.best else ""]
        for one in run.fixed
    ]
    one = run.found
    rows.append([f"**found**, {one.rows:.1f}", *_served(one.per_second, one.p99_s, one.late), ""])
    head = ["most rows in a call", "answers/s", "p99 ms", "late", ""]
    return f"Noise of a call: {run.noise:.0%}\n\n{table(head, rows)}"


def _served(per_second: float, p99_s: float, late: float) -> list[str]:
    return [f"{per_second:,.0f}", f"{p99_s * 1e3:.1f}", f"{late:.1%}"]


def _loads(loads: Sequence[Load]) -> str:
    rows = [
        [
            f"{load.times:g} ×",
            "on" if load.deadlines else "off",
            f"{load.goodput:.2f}",
            f"{load.refused:.1%}",
            f"{load.late:.1%}",
        ]
        for load in loads
    ]
    return table(["arrivals", "deadlines", "in time, capacity = 1", "refused at once", "late"], rows)


def tails_table(tails: Sequence[Tail]) -> str:
    """Quantiles and second calls."""
    shares = (0.5, 0.95, 0.99, 0.995, 0.999)
    rows = [
        [
            "on" if tail.hedged else "off",
            f"{tail.calls:,}",
            *(f"{tail.quantile(share) * 1e3:.1f}" for share in shares),
            f"{tail.extra:.1%}",
        ]
        for tail in tails
    ]
    return table(["hedging", "calls", *(f"p{share * 100:g} ms" for share in shares), "second calls"], rows)


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Rows as a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
