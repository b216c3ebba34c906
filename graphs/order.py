"""Order nodes so that each comes after those it reads; find cycles."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from configs.errors import ConfigError


def topological(reads: Mapping[str, Iterable[str]]) -> list[str]:
    """Names, each after those that it reads. Raises ConfigError that spells out a cycle."""
    try:
        return list(TopologicalSorter({name: sorted(set(needs)) for name, needs in reads.items()}).static_order())
    except CycleError as error:
        path = list(reversed(error.args[1]))
        raise ConfigError(f"cycle: {' → '.join(path)}; a node cannot depend on its own answer") from None


def closures(order: Iterable[str], reads: Mapping[str, Iterable[str]], marked: set[str]) -> dict[str, frozenset[str]]:
    """For each name, which marked ones lie before it (itself excluded)."""
    before: dict[str, frozenset[str]] = {}
    for name in order:
        direct = frozenset(reads[name])
        before[name] = frozenset().union(direct & marked, *(before[need] for need in direct))
    return before
