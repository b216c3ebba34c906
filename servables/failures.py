"""Remember for a while what could not be loaded, so that not every request tries it again."""

import copy
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from configs.errors import MillraceError

K = TypeVar("K", bound=Hashable)

FIRST_S = 1.0
"""Seconds after a first failure in which it is not tried again; twice as long after each further one."""
MOST_S = 60.0
"""So much at most: whoever repairs a model does not want to wait longer."""
KEPT = 1000
"""Failures that are remembered. Names come from clients, who may ask for any number of models that do not exist."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why, how often in a row, and until when it is not tried again."""

    error: MillraceError
    times: int
    until: float


class Failures(Generic[K]):
    """Failures by model. Times are those of the caller's clock, in seconds."""

    def __init__(self) -> None:
        self._failures: OrderedDict[K, Failure] = OrderedDict()

    def add(self, key: K, error: MillraceError, now: float) -> MillraceError:
        """Remember that it failed. Gives the error with the pause in its message."""
        before = self._failures.pop(key, None)
        times = before.times + 1 if before is not None else 1
        pause_s = min(MOST_S, FIRST_S * 2.0 ** min(times - 1, 32))
        self._failures[key] = Failure(error, times, now + pause_s)
        if len(self._failures) > KEPT:
            self._failures.popitem(last=False)
        return _told(error, pause_s)

    def check(self, key: K, now: float) -> None:
        """Raises the error of a model that failed a moment ago."""
        failure = self._failures.get(key)
        if failure is not None and now < failure.until:
            raise _told(failure.error, failure.until - now)

    def forget(self, key: K) -> None:
        """It loads, or somebody says that it was repaired."""
        self._failures.pop(key, None)


def _told(error: MillraceError, left_s: float) -> MillraceError:
    """A copy for one request: an exception keeps where it was raised, so many must not raise the same one."""
    told = copy.copy(error)
    told.args = (f"{error.message}; it is not tried again in the next {left_s:.1f} s", *error.args[1:])
    told.__cause__ = error
    return told
