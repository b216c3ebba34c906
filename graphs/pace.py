"""How long calls take by their number of rows, learnt from those that were made."""

import math

_MEMORY = 0.98
"""Weight of all that was seen before, at each new call: about the last fifty count."""
_SURPRISE = 0.5
"""A call in less than half of what was expected halves the weight of what was seen before: a neighbour that is gone
would else cost fifty calls of needless refusals. After a first call, which may have compiled, that one is forgotten."""
_STALL = 4
"""Times what was expected: a call that takes longer counts as so much, unless the two before it did too. One that hung
would else be expected of the next fifty."""
_SPREAD = 0.2
"""Least standard deviation of the sizes, in mean sizes, from which fixed part and rows are told apart."""


class Pace:
    """Seconds of a call = fixed + rows x each, by least squares over the recent calls.

    Until sizes differ a call is taken to cost the same whatever its rows: this promises too much rather than too
    little, so nothing is refused that could have been done, and sizes differ soon after. Later, while sizes are alike,
    fixed part and rows keep their last proportion: a line through points so close together would turn with the noise.
    """

    def __init__(self) -> None:
        self._weight = self._rows = self._seconds = self._rows2 = self._product = 0.0
        self._line = (0.0, 0.0)
        self._fixed_rows = math.inf
        """How many rows cost as much as the fixed part."""
        self._stalls = 0
        """Calls in a row that took much longer than expected."""

    def note(self, rows: int, seconds: float) -> None:
        """A call was made."""
        most = self.seconds(rows) * _STALL
        self._stalls = self._stalls + 1 if 0 < most < seconds else 0
        if 0 < self._stalls < 3:
            seconds = most
        memory = _MEMORY if seconds >= self.seconds(rows) / 2 else _SURPRISE if self._weight > 1 else 0
        self._weight = self._weight * memory + 1
        self._rows = self._rows * memory + rows
        self._seconds = self._seconds * memory + seconds
        self._rows2 = self._rows2 * memory + rows * rows
        self._product = self._product * memory + rows * seconds
        self._line = self._fit()

    def seconds(self, rows: int) -> float:
        """Of one call; 0 before the first."""
        fixed, each = self._line
        return fixed + each * rows

    def rows(self, seconds: float) -> float:
        """Most rows whose call takes so long; infinitely many if rows cost nothing, as far as is known."""
        fixed, each = self._line
        if each:
            return max(seconds - fixed, 0.0) / each
        # Recent calls took `fixed`. In less time fewer rows are done, at best in proportion.
        return math.inf if seconds >= fixed else self._rows / self._weight * seconds / fixed

    def wait_s(self, rows: int, most: int) -> float:
        """Until so many rows are done, in calls of `most` rows and a last one of the rest."""
        full, rest = divmod(rows, most)
        return full * self.seconds(most) + (self.seconds(rest) if rest else 0.0)

    def _fit(self) -> tuple[float, float]:
        rows, seconds = self._rows / self._weight, self._seconds / self._weight
        spread = self._rows2 / self._weight - rows * rows
        if spread > (_SPREAD * rows) ** 2:
            each = min(max((self._product / self._weight - rows * seconds) / spread, 0.0), seconds / rows)
            self._fixed_rows = (seconds - each * rows) / each if each else math.inf
        if self._fixed_rows == math.inf:
            return seconds, 0.0
        each = seconds / (self._fixed_rows + rows)
        return self._fixed_rows * each, each
