"""Choose the replica for a model: always the same few, more of them for a popular model, none overloaded."""

from bisect import bisect
from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from math import ceil

MOST = 1.25
"""How many times the average load a replica may have: `c` of the paper, whose authors' experiments favour it."""
FEW = 8
"""Requests in flight that a replica always takes. With almost no load the average is below one, and two requests at
the same time would be reason enough to load a model twice."""
_POINTS = 128
"""Places of each replica on the ring: shares of the models differ by about 1 / √128, a tenth."""


class Ring:
    """Consistent hashing with bounded loads.

    V. Mirrokni, M. Thorup, M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018 (arXiv 1608.01350).
    Whoever knows the same replicas has the same ring, in any process. It does not change: make another one when
    replicas come or go, and about 1/n of the models change their place.

    Args:
        replicas: their names, at least one.
    """

    def __init__(self, replicas: Collection[str]) -> None:
        if not replicas:
            raise ValueError("a ring needs at least one replica")
        places = {(_hash(f"{replica}#{point}"), replica) for replica in replicas for point in range(_POINTS)}
        self._places = sorted(places)
        self._hashes = [place for place, _ in self._places]
        self.replicas = frozenset(replicas)

    def order(self, key: str) -> Iterator[str]:
        """All replicas: the model's own first, then those to which it spills over."""
        start = bisect(self._hashes, _hash(key))
        seen = set[str]()
        for step in range(len(self._places)):
            replica = self._places[(start + step) % len(self._places)][1]
            if replica not in seen:
                seen.add(replica)
                yield replica
                if len(seen) == len(self.replicas):
                    return

    def choose(self, key: str, loads: Mapping[str, int]) -> str:
        """The first replica that has room for one request more. The caller then counts it in.

        Args:
            loads: replica → requests in flight there; absent: none. Others than the ring's are not looked at.
        """
        bound = self.bound(sum(loads.get(replica, 0) for replica in self.replicas) + 1)
        return next(replica for replica in self.order(key) if loads.get(replica, 0) < bound)

    def bound(self, requests: int) -> int:
        """The most that a replica has of so many requests in flight."""
        return max(FEW, ceil(MOST * requests / len(self.replicas)))


def _hash(text: str) -> int:
    """Of 64 bits; the same in every process, unlike Python's own."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
