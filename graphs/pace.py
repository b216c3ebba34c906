"""How long calls take by their number of rows, learnt from those that were made."""

import math

_MEMORY = 0.98
"""Weight of all that was seen before, at each new call: about the last fifty count."""
_SURPRISE = 0.5
"""A call in less than half of what was expected halves the weight of what was seen before: a first call that compiled,
or a neighbour that is gone, would else cost fifty calls of needless refusals."""


class Pace:
    """Seconds of a call = fixed + rows x each, by least squares over the recent calls.

    Until sizes differ a call is taken to cost the same whatever its rows: this promises too much rather than too
    little, so nothing is refused that could have been done, and sizes differ soon after.
    """

    def __init__(self) -> None:
        self._weight = self._rows = self._seconds = self._rows2 = self._product = 0.0
        self._line = (0.0, 0.0)

    def note(self, rows: int, seconds: float) -> None:
        """A call was made."""
        memory = _MEMORY if seconds >= self.seconds(rows) / 2 else _SURPRISE
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
        """Most rows whose call takes so long; infinitely many if rows cost nothing."""
        fixed, each = self._line
        return max(seconds - fixed, 0.0) / each if each else math.inf

    def wait_s(self, rows: int, most: int) -> float:
        """Until so many rows are done, in calls of `most` rows and a last one of the rest."""
        full, rest = divmod(rows, most)
        return full * self.seconds(most) + (self.seconds(rest) if rest else 0.0)

    def _fit(self) -> tuple[float, float]:
        rows, seconds = self._rows / self._weight, self._seconds / self._weight
        spread = self._rows2 / self._weight - rows * rows
        if spread < 0.01:
            return seconds, 0.0
        each = max((self._product / self._weight - rows * seconds) / spread, 0.0)
        return max(seconds - each * rows, 0.0), min(each, seconds / rows)
