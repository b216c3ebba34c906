"""What requests met with: which of them cannot but have found their model loaded, and which cannot have."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.pool.live.load import Sent
from benchmarks.pool.live.models import FIT
from benchmarks.pool.live.plan import POPULAR, Part


@dataclass(frozen=True)
class Latencies:
    """In seconds, from the planned moment, of right answers."""

    calm: list[float]
    """Of the popular models, surely loaded, while no other is asked for."""
    warm: list[float]
    """Of the same, surely loaded, while others are being loaded."""
    cold: list[float]
    """Of any model that surely was not loaded."""

    def __add__(self, other: "Latencies") -> "Latencies":
        return Latencies(self.calm + other.calm, self.warm + other.warm, self.cold + other.cold)


def judge(requests: Sequence[Sent], parts: Sequence[Part], sizes: Sequence[int], limit: int) -> Latencies:
    """Sort the requests of the parts that count.

    Whoever lets the least recently used model go, by bytes or by count, holds a model since whose last answer no more
    than half as many others were used as fit; and has let go one since which more were used than fit.

    Args:
        requests: in the order in which they were planned.
        sizes: bytes of each model.
        limit: bytes that fit.
    """
    found = Latencies([], [], [])
    for request, others in _with_others(requests):
        part, took = parts[request.part], request.ended - request.planned
        if not part.counts or not request.right:
            continue
        if others is None or _heavy(others, sizes, limit):
            found.cold.append(took)
        elif request.model < POPULAR and _light(others, sizes, limit):
            (found.calm if part.calm else found.warm).append(took)
    return found


def quantile(values: Collection[float], share: float) -> float:
    """NaN of nothing."""
    return float(np.quantile(list(values), share)) if values else math.nan


def _light(others: set[int], sizes: Sequence[int], limit: int) -> bool:
    return len(others) <= FIT / 2 and _bytes(others, sizes) <= limit / 2


def _heavy(others: set[int], sizes: Sequence[int], limit: int) -> bool:
    return len(others) >= FIT and _bytes(others, sizes) >= limit


def _bytes(models: set[int], sizes: Sequence[int]) -> int:
    return sum(sizes[model] for model in models)


def _with_others(requests: Sequence[Sent]) -> Iterator[tuple[Sent, set[int] | None]]:
    """Each request, with the other models in use at any time since its own was last answered; None: it never was.

    A request whose model is being asked for at that time is left out: it may share the other's load.
    """
    for number, request in enumerate(requests):
        others: set[int] = set()
        before = requests[:number]
        last = max((each for each in before if each.model == request.model), key=lambda each: each.ended, default=None)
        if last is None:
            yield request, None
        elif last.ended < request.sent:
            others = {each.model for each in before if each.ended >= last.sent} - {request.model}
            yield request, others
