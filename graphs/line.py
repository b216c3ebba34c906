"""The order in which waiting work is taken: by priority, then deadline; nobody waits for ever, nobody is late."""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from graphs.terms import Terms

AGEING_S = 1.0
"""Seconds of waiting that are worth one step of priority."""
_SWEEP = 64
"""Shortest line that is looked through for those that no longer wait."""


class Waiter(Protocol):
    """What can stand in a line."""

    terms: Terms
    arrived: float
    """On the clock that deadlines are on."""

    @property
    def left(self) -> bool:
        """Whether nobody waits for the answer any more."""
        ...


W = TypeVar("W", bound=Waiter)


def rank(terms: Terms, arrived: float) -> int:
    """A number that is smaller for who comes first: waiting `AGEING_S` is worth one step of priority.

    It is the second of arrival plus the priority, so it never changes while its owner waits, and whoever comes a
    hundred seconds later comes after, whatever its priority: nobody starves. Within a rank the earlier deadline is
    first ("earliest deadline first", Liu and Layland 1973).
    """
    return math.floor(arrived / AGEING_S) + terms.priority


class Line(Generic[W]):
    """A priority queue whose expired and departed members are passed over. For one thread."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, W]] = []
        self._numbers = itertools.count()
        self._sweep_at = _SWEEP

    def __len__(self) -> int:
        return len(self._heap)

    def join(self, waiter: W) -> None:
        """Stand in line."""
        terms = waiter.terms
        heapq.heappush(self._heap, (rank(terms, waiter.arrived), terms.deadline, next(self._numbers), waiter))

    def take(self, now: float, fits: Callable[[W], bool]) -> tuple[list[W], list[W]]:
        """Those in line, up to the first that does not fit.

        Args:
            fits: asked of each in order, until it says no.

        Returns:
            Those taken, in order, and those found expired; who left is forgotten.
        """
        taken: list[W] = []
        expired = self._sweep(now) if len(self._heap) > self._sweep_at else []
        heap = self._heap
        while heap:
            waiter = heap[0][3]
            if waiter.left:
                heapq.heappop(heap)
            elif waiter.terms.deadline <= now:
                expired.append(heapq.heappop(heap)[3])
            elif not fits(waiter):
                break
            else:
                taken.append(heapq.heappop(heap)[3])
        return taken, expired

    def _sweep(self, now: float) -> list[W]:
        """Those expired, wherever they stand; who left is forgotten. Else both would be kept until their turn came."""
        here = [entry for entry in self._heap if not entry[3].left]
        expired = [waiter for *_, waiter in here if waiter.terms.deadline <= now]
        self._heap = [entry for entry in here if entry[3].terms.deadline > now]
        heapq.heapify(self._heap)
        self._sweep_at = _SWEEP + 2 * len(self._heap)
        return expired
