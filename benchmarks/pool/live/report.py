"""The live results as Markdown, with their aims."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from statistics import mean

from benchmarks.isolation.report import Aim, aims_table, table
from benchmarks.pool.live.judge import Latencies, quantile
from benchmarks.pool.live.models import FAMILIES
from benchmarks.pool.live.plan import POPULAR
from benchmarks.pool.live.run import Measured
from benchmarks.pool.live.servers import SERVERS

TIMES = 2.0
"""Most that the p99 of loaded models may be while others are loaded, as a multiple of the calm one."""
HITS = 0.9
"""Least share of the ideal hits."""
_OURS = "millrace"

Groups = Mapping[tuple[str, str], Sequence[Measured]]
"""Family and server → every round."""


def grouped(found: Sequence[Measured]) -> Groups:
    """By family and server, in their order."""
    keys = [(family, server) for family in FAMILIES for server in SERVERS]
    groups = {key: [one for one in found if (one.family, one.server) == key] for key in keys}
    return {key: group for key, group in groups.items() if group}


def aims(groups: Groups) -> list[Aim]:
    """Everything that Millrace must show."""
    rows: list[Aim] = []
    for (family, server), group in groups.items():
        if server != _OURS:
            continue
        bad, most = _bad(group), _most_bytes(group) / group[0].limit
        share = mean(one.without_load for one in group) / mean(one.ideal for one in group)
        times = ratio(latencies(group), 0.99)
        rows += [
            (f"{family}: answers that are not the model's own, of {_sent(group):,}", str(bad), "0", bad == 0),
            (f"{family}: most bytes of models, limit = 1", f"{most:.3f}", "≤ 1", most <= 1),
            (f"{family}: requests without a load, ideal = 1", f"{share:.2f}", f"≥ {HITS:g}", share >= HITS),
            (f"{family}: p99 of loaded models during loads, calm = 1", f"{times:.2f}", f"≤ {TIMES:g}", times <= TIMES),
        ]
    return rows


def render(machine: Mapping[str, str], command: str, groups: Groups) -> str:
    """The whole page."""
    parts = [
        "# Many models in little memory, live",
        "\n".join(f"- {name}: {value}" for name, value in {**machine, "command": f"`{command}`"}.items()),
        "How it is measured: [benchmarks/README.md](../../README.md#pool-many-models-in-little-memory).",
        "![Latency, memory](results.png)",
        "## Aims",
        aims_table(aims(groups)),
    ]
    for family in dict.fromkeys(family for family, _ in groups):
        of_family = {server: group for (its, server), group in groups.items() if its == family}
        parts += [f"## {family}: {FAMILIES[family].about}, {FAMILIES[family].rate:g} requests/s", *_tables(of_family)]
    return "\n\n".join(parts) + "\n"


def _tables(groups: Mapping[str, Sequence[Measured]]) -> list[str]:
    parts = [
        f"Latency of the {POPULAR} most popular models, surely loaded, in ms:",
        table(_LATENCY, [_latency(server, group) for server, group in groups.items()]),
        "Answers and memory:",
        table(_REST, [_rest(server, group) for server, group in groups.items()]),
    ]
    wrong: Counter[str] = sum((one.wrong for one in chain(*groups.values())), Counter())
    if wrong:
        parts += ["Not right:", table(["why", "requests"], [[why, str(n)] for why, n in wrong.most_common(20)])]
    return parts


_LATENCY = ["server", "calm: p50", "p99", "during loads: p50", "p99", "p50 ratio", "p99 ratio", "each round"]
_LATENCY += ["cold: p50", "p99", "counted: calm, loads, cold"]


def _latency(server: str, group: Sequence[Measured]) -> list[str]:
    found = latencies(group)
    rounds = ", ".join(f"{ratio(one.latencies, 0.99):.1f}" for one in group)
    calm, warm, cold = ([f"{quantile(part, share) * 1e3:.1f}" for share in (0.5, 0.99)] for part in _three(found))
    ratios = [f"{ratio(found, 0.5):.2f}", f"**{ratio(found, 0.99):.2f}**", rounds]
    counted = ", ".join(f"{len(part):,}" for part in _three(found))
    return [SERVERS[server].title, *calm, *warm, *ratios, *cold, counted]


_REST = ["server", "requests", "not right", "without a load", "ideal", "most MB of models", "limit", "process MB"]
_REST += ["cores", "generator: p99 ms behind its plan", "its share of a core", "load average"]


def _rest(server: str, group: Sequence[Measured]) -> list[str]:
    resident = [sample.resident / 1e6 for one in group for sample in one.samples]
    behind = quantile(list(chain(*(one.behind for one in group))), 0.99)
    return [
        SERVERS[server].title,
        f"{_sent(group):,}",
        str(_bad(group)),
        f"{mean(one.without_load for one in group):.1%}",
        f"{mean(one.ideal for one in group):.1%}",
        f"{_most_bytes(group) / 1e6:.1f}",
        f"{group[0].limit / 1e6:.1f}",
        f"{min(resident):.0f} … {max(resident):.0f}",
        f"{mean(one.cores for one in group):.2f}",
        f"{behind * 1e3:.1f}",
        f"{mean(one.busy for one in group):.0%}",
        ", ".join(f"{one.load_average:.1f}" for one in group),
    ]


def latencies(group: Sequence[Measured]) -> Latencies:
    """Of all rounds."""
    return sum((one.latencies for one in group), Latencies([], [], []))


def ratio(found: Latencies, share: float) -> float:
    """A quantile while others are loaded, as a multiple of the calm one."""
    return quantile(found.warm, share) / quantile(found.calm, share)


def _three(found: Latencies) -> tuple[list[float], list[float], list[float]]:
    return found.calm, found.warm, found.cold


def _bad(group: Sequence[Measured]) -> int:
    return sum(one.wrong.total() for one in group)


def _sent(group: Sequence[Measured]) -> int:
    return sum(one.sent for one in group)


def _most_bytes(group: Sequence[Measured]) -> int:
    return max(sample.bytes for one in group for sample in one.samples)
