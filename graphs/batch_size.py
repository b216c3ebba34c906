"""The largest number of rows whose calls keep a latency objective, found while serving."""

from graphs.pace import Pace

_BACK = 0.1
"""A late call takes a tenth off, as in Clipper (Crankshaw et al., NSDI 2017, section 4.3.1)."""
_FLOOR = 1 / 6
"""Of the objective: where calls that take so long on average are late, smaller ones would be late too."""


class BatchSize:
    """Grows while calls that use it are in time, shrinks when one is late, and settles where 1 in 100 is.

    Clipper adds a constant and multiplies by 0.9 ("additive increase, multiplicative decrease"), which holds the
    objective most of the time, how often depends on the constant. Here a call in time multiplies the size by just so
    much that 99 of them undo one late call: a Robbins-Monro walk (1951) for the 99th percentile. The first late call
    ends a phase in which the size doubles, as in TCP's slow start.

    A stall (a garbage collection, a neighbour) makes small calls late too, and smaller ones would cure nothing. So the
    size is never less than what takes a sixth of the objective on average, as far as such calls were in time before.

    While a line is no longer than one call, a request waits at most for the call before its own and for its own: these
    two together must keep the objective.

    Args:
        most: never more rows than these.
        p99_s: objective for waiting and call together.
        pace: of the same calls.
    """

    def __init__(self, most: int, p99_s: float, pace: Pace) -> None:
        self._most = most
        self._p99_s = p99_s
        self._pace = pace
        self._before_s = 0.0
        self._size = 1.0
        self._proved = 1
        self._doubling = True

    @property
    def rows(self) -> int:
        """Most rows in the next call."""
        return int(self._size)

    def note(self, rows: int, seconds: float) -> None:
        """A call was made. One that was smaller than allowed and in time says nothing of larger ones."""
        late = self._before_s + seconds > self._p99_s
        self._before_s = seconds
        if late:
            self._doubling = False
            self._size = max(1.0, min(self._size, rows) * (1 - _BACK))
        elif rows >= self.rows:
            growth = 2.0 if self._doubling else (1 - _BACK) ** (-1 / 99)
            self._size = min(float(self._most), self._size * growth)
            self._proved = max(self._proved, min(rows, self._most))
        self._size = max(self._size, min(self._proved, self._pace.rows(self._p99_s * _FLOOR)))
