"""On what terms a request is answered: until when, and before whom."""

import math
import time
from dataclasses import dataclass

from graphs.sequences import Sequence

DEFAULT_PRIORITY = 10
"""Of a request that names none: a caller may ask to come before it (1 to 9) or after it (11 and more)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """One deadline and one priority, which hold through the whole graph."""

    deadline: float = math.inf
    """On this process's `time.monotonic()`; across a hop travels the time that is left."""
    priority: int = DEFAULT_PRIORITY
    """1 comes first, as in Triton; larger numbers are less urgent."""
    sequence: Sequence | None = None
    """What a stateful node remembers by."""

    @classmethod
    def within(cls, seconds: float, priority: int = DEFAULT_PRIORITY, sequence: Sequence | None = None) -> "Terms":
        """A deadline so many seconds from now."""
        return cls(time.monotonic() + seconds, priority, sequence)

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative once it has passed."""
        return self.deadline - time.monotonic()


UNHURRIED = Terms()
"""No deadline, default priority."""
