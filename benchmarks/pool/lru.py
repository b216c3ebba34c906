"""What would have been a hit without a server: the two ways to let the least recently used go."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """What came of a sequence of requests."""

    hit_rate: float
    most_bytes: int


def lru(asked: Sequence[str], sizes: Mapping[str, int], limit: int, by_bytes: bool) -> Found:
    """Requests one after another, loads that take no time.

    Args:
        limit: in bytes, or of models, as `@serve.multiplexed` counts.
    """
    held: OrderedDict[str, int] = OrderedDict()
    hits, taken, most = 0, 0, 0
    for key in asked:
        if key in held:
            hits += 1
            held.move_to_end(key)
            continue
        while held and (taken + sizes[key] > limit if by_bytes else len(held) >= limit):
            taken -= held.popitem(last=False)[1]
        held[key] = sizes[key]
        taken += sizes[key]
        most = max(most, taken)
    return Found(hits / len(asked), most)
