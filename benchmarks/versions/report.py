"""The outcomes as Markdown, with their aims."""

from collections.abc import Sequence
from statistics import median

from benchmarks.isolation.report import Aim, aims_table, table
from benchmarks.versions.judge import FIRST, SPLIT, Split, Tail
from benchmarks.versions.outcome import EVERY, Judged, Outcome

TIMES = 2.0
"""Most that the p99 during swaps may be, as a multiple of the calm one."""
BUSY_MS = 5.0
"""A generator that sends so late while nothing else goes on does not get a core when it needs one."""
_PROXIES = {"haproxy": "HAProxy", "python": "Ray's Python proxy"}
_MODELS = {
    "inline": "a Python class in the gateway",
    "network": "a .pt2 perceptron of 25 MB in the gateway",
    "placed": "a Python class in a process of its own",
    "aliased": "a Python class in the gateway, from an MLflow registry by an alias",
}


def aims(outcome: Outcome) -> list[Aim]:
    """Everything that a run must show."""
    lost, sent = sum(part.lost for part in outcome.parts), sum(part.sent for part in outcome.parts)
    rows: list[Aim] = [
        (f"requests lost, of {sent:,}", str(lost), "0", lost == 0),
        ("answers of an unwanted version", str(len(outcome.unwanted)), "0", not outcome.unwanted),
        ("answers of no version that was published", str(outcome.unknown), "0", not outcome.unknown),
    ]
    rows.append(("versions that did not take over, or fail", str(len(outcome.stuck)), "0", not outcome.stuck))
    for part in outcome.parts[1:]:
        times = part.tails[EVERY].p99 / outcome.parts[0].tails[EVERY].p99
        rows.append((f"p99 in “{part.part.name}”, calm = 1", f"{times:.2f}", f"≤ {TIMES:g}", times <= TIMES))
    return rows


def render(outcomes: Sequence[Outcome]) -> str:
    """The whole page."""
    parts = [
        "# New versions under load",
        "How it is measured: [benchmarks/README.md](../README.md#versions-new-versions-under-load).",
        "![Latency over time, with swaps and kills](results.png)",
    ]
    for outcome in outcomes:
        parts += [f"## Behind {_PROXIES[outcome.proxy]}", about(outcome), aims_table(aims(outcome)), *_tables(outcome)]
    return "\n\n".join(parts) + "\n"


def about(outcome: Outcome) -> str:
    """What it was measured on, and with which load."""
    lines = [f"- {name}: {value}" for name, value in outcome.machine.items()]
    lines.append(
        f"- load: {outcome.rate:.0f} requests/s, a third of the {outcome.capacity:.0f} that clients get that never "
        f"pause; of them over {' and '.join(_protocols(outcome))}"
    )
    lines.append(f"- generator: {outcome.busy:.0%} of a core")
    if outcome.away_s:
        lines.append(
            f"- control, killed {len(outcome.kills)} times, was back after {median(outcome.away_s):.1f} s (median; at "
            f"most {max(outcome.away_s):.1f} s)"
        )
    if (behind_ms := outcome.parts[0].behind_ms) > BUSY_MS:
        lines.append(
            f"- **other work ran on the machine**: even in the calm part one request in a hundred was sent "
            f"{behind_ms:.0f} ms late or more, so that percentiles and their ratios are the machine's rather than the "
            "server's"
        )
    return "\n".join(lines)


def _protocols(outcome: Outcome) -> list[str]:
    return [f"{protocol} {sent:,} ({lost} lost)" for protocol, (sent, lost) in outcome.by_protocol.items()]


def _tables(outcome: Outcome) -> list[str]:
    parts = ["### Requests", _parts(outcome.parts)]
    if outcome.lost:
        parts += ["Lost:", table(["stream, reason", "requests"], [[why, str(n)] for why, n in outcome.lost.items()])]
    parts += ["### Latency by model, ms: p50 / p99 / p99.9", _tails(outcome.parts)]
    parts += ["### Seconds from publishing to the first answer: median / p95", _splits(outcome)]
    return parts


def _parts(parts: Sequence[Judged]) -> str:
    head = ["part", "seconds", "swaps", "broken", "kills", "sent", "lost", "p50 ms", "p99 ms", "p99.9 ms"]
    head += ["generator: p99 ms behind its plan", "load average"]
    rows = [
        [
            judged.part.name,
            f"{judged.part.ended - judged.part.began:.0f}",
            ", ".join(f"{count} {model}" for model, count in judged.part.swaps.items() if count) or "–",
            str(judged.part.broken),
            str(judged.part.kills),
            f"{judged.sent:,}",
            str(judged.lost),
            *_figures(judged.tails[EVERY]),
            f"{judged.behind_ms:.1f}",
            f"{judged.part.load:.1f}",
        ]
        for judged in parts
    ]
    return table(head, rows)


def _tails(parts: Sequence[Judged]) -> str:
    rows = [
        [f"{model}: {what}", *(" / ".join(_figures(judged.tails[model])) for judged in parts)]
        for model, what in _MODELS.items()
        if model in parts[0].tails  # an outcome that was kept may be from before there was this model
    ]
    return table(["model", *(judged.part.name for judged in parts)], rows)


def _figures(tail: Tail) -> list[str]:
    return [f"{value:.1f}" for value in (tail.p50, tail.p99, tail.p999)]


def _splits(outcome: Outcome) -> str:
    named = [(f"{split.model}, {split.count} alone", split) for split in outcome.alone]
    named += [(f"{split.model}, {split.count}, control killed", split) for split in outcome.killed]
    steps = [*SPLIT, "**in all**"]
    rows = [[step, *(_step(split, index) for _, split in named)] for index, step in enumerate(steps)]
    return table([f"until {SPLIT[0]}, …, until {FIRST}", *(name for name, _ in named)], rows)


def _step(split: Split, index: int) -> str:
    return f"{split.median[index]:.2f} / {split.p95[index]:.2f}" if split.count else "–"
