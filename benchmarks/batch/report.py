"""The outcome as Markdown, with its aims."""

from collections.abc import Mapping

from benchmarks.batch.launch import WAYS
from benchmarks.batch.outcome import APART, HTTP, MILLRACE, PANDAS, RAY, Bounded, Outcome
from benchmarks.batch.summary import Summary, summarise
from benchmarks.batch.workloads import WORKLOADS
from benchmarks.isolation.report import Aim, aims_table, table

LEAST = {RAY: 0.95, PANDAS: 1.0, HTTP: 1.0, APART: 1.0}
"""Way → least rows per second of Millrace, that way's = 1."""
OVER = 1.05
"""Most that the object store may take, as a multiple of what it is given: its file has a header."""
Summaries = Mapping[tuple[str, str], Summary]


def aims(outcome: Outcome) -> list[Aim]:
    """Everything that a run must show."""
    rows: list[Aim] = []
    for (workload, way), one in summarise(outcome.runs).items():
        if way in LEAST:
            name = f"{workload}: steady rows/s of Millrace, {WAYS[way].title} = 1"
            rows.append((name, f"{one.steady_ratio:.2f}", f"≥ {LEAST[way]:g}", one.steady_ratio >= LEAST[way]))
    if (found := outcome.bounded) is not None:
        lost = found.rows - found.rows_out
        store = found.store_peak / found.store_bytes
        rows += [
            (
                f"rows lost over {found.data_bytes / found.store_bytes:.0f} × the object store",
                str(lost),
                "0",
                lost == 0,
            ),
            ("times that objects went to the disk", str(found.spills), "0", found.spills == 0),
            ("most of the object store, given = 1", f"{store:.2f}", f"≤ {OVER:g}", store <= OVER),
        ]
    return rows


def render(outcome: Outcome) -> str:
    """The whole page."""
    about = [f"- {name}: {value}" for name, value in {**outcome.machine, "command": f"`{outcome.command}`"}.items()]
    parts = [
        "# Batch jobs",
        "How it is measured: [benchmarks/README.md](../README.md#batch-a-graph-over-files).",
        "\n".join(about),
        "## Aims",
        aims_table(aims(outcome)),
    ]
    summaries = summarise(outcome.runs)
    for workload in dict.fromkeys(workload for workload, _ in summaries):
        of_it = {way: one for (its, way), one in summaries.items() if its == workload}
        rows = next(run.rows for run in outcome.runs if run.workload == workload)
        parts += [
            f"## {workload}: {rows:,} rows",
            f"{WORKLOADS[workload].about[:1].upper()}{WORKLOADS[workload].about[1:]}.",
            _ways(of_it),
        ]
    if outcome.bounded is not None:
        parts += ["## Memory", *_memory(outcome.bounded)]
    return "\n\n".join(parts) + "\n"


_HEAD = ["way", "steady rows/s", "Millrace : it", "each round", "rows/s of the whole command", "Millrace : it"]
_HEAD += ["seconds until the first file", "seconds in all", "CPU s for 100,000 rows", "memory, MB", "answers differ by"]


def _ways(summaries: Mapping[str, Summary]) -> str:
    return table(_HEAD, [_way(way, one) for way, one in summaries.items()])


def _way(way: str, one: Summary) -> list[str]:
    ours = way == MILLRACE
    return [
        WAYS[way].title,
        f"{one.steady:,.0f}",
        "" if ours else f"**{one.steady_ratio:.2f}**",
        "" if ours else ", ".join(f"{ratio:.2f}" for ratio in one.ratios),
        f"{one.whole:,.0f}",
        "" if ours else f"{one.whole_ratio:.2f}",
        f"{one.first_s:.1f}",
        f"{one.whole_s:.1f}",
        f"{one.cpu_s:.1f}",
        f"{one.peak_bytes / 1e6:,.0f}",
        "" if ours else f"{one.differs:.1e}",
    ]


def _memory(found: Bounded) -> list[str]:
    about = (
        f"{found.rows:,} rows, {found.data_bytes / 1e6:,.0f} MB of Parquet, scored in {found.seconds:.0f} s on a Ray "
        f"whose object store has {found.store_bytes / 1e6:,.0f} MB; of those {found.store_peak / 1e6:,.0f} MB were "
        f"ever used, and objects went to the disk {found.spills} times. The most that one process of each "
        "kind took, of those above 50 MB:"
    )
    head = ["process", "how many", "memory of its own, MB", "resident with files and the object store, MB"]
    rows = [
        [each.name, str(each.count), f"{each.own / 1e6:,.0f}", f"{each.resident / 1e6:,.0f}"]
        for each in found.taken
        if each.own > 50e6
    ]
    return [about, table(head, rows)]
