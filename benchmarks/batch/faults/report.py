"""The outcome as Markdown, with its aims."""

from benchmarks.batch.faults.outcome import Disturbed, Outcome
from benchmarks.isolation.report import Aim, aims_table, table


def aims(outcome: Outcome) -> list[Aim]:
    """Everything that a run must show."""
    rows: list[Aim] = []
    for one in outcome.disturbed:
        found = one.judged
        rows += [
            (f"{one.title}: rows lost, of {found.rows_in:,}", str(found.lost), "0", found.lost == 0),
            (f"{one.title}: rows repeated", str(found.repeated), "0", found.repeated == 0),
            (f"{one.title}: the same files as undisturbed", _word(found.equal), "yes", found.equal),
        ]
    return rows


def render(outcome: Outcome) -> str:
    """The whole page."""
    about = [f"- {name}: {value}" for name, value in {**outcome.machine, "command": f"`{outcome.command}`"}.items()]
    for one in outcome.undisturbed:
        where = "on a Ray of its own" if one.nodes == 1 else f"on a cluster of {one.nodes} nodes"
        about.append(f"- undisturbed {where}: {one.parts} parts in {one.seconds:.0f} s, with the start")
    head = ["killed (SIGKILL)", "processes", "went on", "rows in", "out", "bad", "lost", "repeated"]
    head += ["equal to undisturbed", "s until the next part", "s longer than undisturbed"]
    parts = [
        "# Batch jobs that are killed",
        "How it is measured: [benchmarks/README.md](../../README.md#batch-a-graph-over-files).",
        "\n".join(about),
        table(head, [_row(one) for one in outcome.disturbed]),
        "## Aims",
        aims_table(aims(outcome)),
    ]
    return "\n\n".join(parts) + "\n"


def _row(one: Disturbed) -> list[str]:
    found = one.judged
    counts = [found.rows_in, found.answers, found.bad, found.lost, found.repeated]
    return [
        one.title,
        str(one.killed),
        "with --resume" if one.resumed else "by itself",
        *(f"{count:,}" for count in counts),
        _word(found.equal),
        f"{one.next_s:.1f}",
        f"{one.longer_s:.1f}",
    ]


def _word(yes: bool) -> str:
    return "yes" if yes else "no"
