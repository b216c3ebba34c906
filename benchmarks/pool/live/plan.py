"""Which model is asked for when: as by Zipf among all, or among the popular ones alone."""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

EXPONENT = 1.1
POPULAR = 5
"""Models whose latency is compared."""
_ENDING_S = 2.0


class Part(NamedTuple):
    """A time in which the same goes on."""

    calm: bool
    """Only the popular models are asked for: nothing is loaded."""
    seconds: float
    counts: bool = True
    """Whether its latencies are looked at."""


class Ask(NamedTuple):
    """A request that is to be sent."""

    at: float
    """Seconds from the beginning."""
    model: int
    """Its place among all, the most popular one first."""
    part: int


def parts(cycles: int, calm_s: float, zipf_s: float) -> list[Part]:
    """Calm and not, in turns; what does not count lets loads end, or fills all slots for the first time."""
    ending, filling = Part(True, _ENDING_S, counts=False), Part(False, zipf_s / 3, counts=False)
    turn = [ending, Part(True, calm_s), Part(False, zipf_s)]
    return [*turn[:2], filling, turn[2], *turn * (cycles - 1)]


def asks(parts: Sequence[Part], models: int, rate: float, seed: int) -> list[Ask]:
    """A Poisson process of requests through all parts."""
    chance, found, end = random.Random(seed), list[Ask](), 0.0
    for number, part in enumerate(parts):
        at, end = end, end + part.seconds
        among = POPULAR if part.calm else models
        weights = list(accumulate(1 / rank**EXPONENT for rank in range(1, among + 1)))
        while (at := at + chance.expovariate(rate)) < end:
            found.append(Ask(at, chance.choices(range(among), cum_weights=weights)[0], number))
    return found
