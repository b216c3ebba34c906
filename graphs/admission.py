"""Refuse rows that would wait too long: the bound of a node's queue is in time."""

from collections import Counter
from dataclasses import dataclass

from configs.errors import Overloaded
from graphs.pace import Pace
from graphs.terms import Terms

_HEADROOM = 1.25
"""What is taken must be expected in this much less than its time: in overload the line is always as long as it may be,
and without headroom every second answer would be just too late."""


@dataclass(frozen=True, slots=True)
class Running:
    """The call that is made, or was made last."""

    rows: int
    last: int
    """The largest rank in it."""
    started: float


class Admission:
    """Counts the rows that wait or are computed by rank, and says how long more of them would wait.

    Of the event loop alone, except for `running`, which the thread that makes the calls sets.

    Args:
        name: of the node, for messages.
        max_wait_s: longest wait of a request without a deadline.
        pace: of the node's calls.
    """

    def __init__(self, name: str, max_wait_s: float, pace: Pace) -> None:
        self._name = name
        self._max_wait_s = max_wait_s
        self._pace = pace
        self._ranks: Counter[int] = Counter()
        self.running: Running | None = None

    def enter(self, place: int, count: int, terms: Terms, now: float, most: int) -> None:
        """Count rows in, or raise Overloaded if they would wait too long.

        An idle model takes everything, or it would never show that it is faster.

        Args:
            place: their rank; what has a smaller or an equal one is before them.
            most: rows of one call.
        """
        ahead = sum(rows for other, rows in self._ranks.items() if other <= place)
        if ahead:
            wait_s = self._wait_s(ahead, count, place, now, most)
            limit_s = min(self._max_wait_s, (terms.deadline - now) / _HEADROOM)
            if wait_s > limit_s:
                raise Overloaded(
                    f"node {self._name} is overloaded: the answer would take {wait_s:.3g} s, "
                    f"{self._limit(terms, now)}; send the request later",
                    wait_s - limit_s,
                )
        self._ranks[place] += count

    def leave(self, place: int, count: int) -> None:
        """Nobody waits for these rows any more."""
        self._ranks[place] -= count
        if not self._ranks[place]:
            del self._ranks[place]

    def _limit(self, terms: Terms, now: float) -> str:
        left_s = terms.deadline - now
        if left_s / _HEADROOM < self._max_wait_s:
            return f"and its deadline or timeout_s leaves {left_s:.3g} s, of which a fifth is kept in reserve"
        return f"and the queue's max_wait_s is {self._max_wait_s:.3g} s"

    def _wait_s(self, ahead: int, count: int, place: int, now: float, most: int) -> float:
        """Seconds until an answer for `count` rows behind `ahead` others."""
        running, behind = self.running, self._ranks.total() - ahead
        wait_s = 0.0
        if running is not None and running.last <= place:
            ahead = max(ahead - running.rows, 0)
            wait_s = max(self._pace.seconds(running.rows) - (now - running.started), 0.0)
        rows = ahead + count
        # The last call is shared with some that come later: it will be about as large as the one before.
        later = max(behind, running.rows - rows % most if running is not None else 0)
        return wait_s + self._pace.wait_s(rows + min(later, -rows % most), most)
