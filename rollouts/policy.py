"""Which versions of a servable should be there: those that the policy wants, and those kept for a rollback."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from configs.versions import Versions
from rollouts.life import IN_MEMORY, WARM, Life


@dataclass(frozen=True)
class Wish:
    """What is wanted of one servable."""

    policy: Versions = field(default_factory=Versions)
    pin: int | None = None
    """A version that shall have the traffic whatever the policy says, as after a rollback."""
    out: Set[int] = frozenset()
    """Versions that somebody took out, whatever the policy says."""


def wanted(lives: Iterable[Life], wish: Wish) -> list[Life]:
    """The versions that should be up, in the order in which they should have the traffic: the best one first.

    A version whose last try failed takes nobody's place: `latest: 1` wants it and the next one that works.
    A pin on a number that is neither published nor in memory holds nobody up: then the policy says what is wanted.
    """
    order = sorted(lives, key=lambda life: (life.key.number, life.published, life.revision), reverse=True)
    pinned = [life for life in order if life.key.number == wish.pin and _to_be_had(life)]
    if pinned:
        return pinned[:1]
    published = [life for life in order if life.published and life.key.number not in wish.out]
    if wish.policy.alias:  # whoever knows the source says which number it is; nobody does now
        return []
    if wish.policy.only:
        return [life for life in published if life.key.number in wish.policy.only]
    return published if wish.policy.newest is None else _newest(published, wish.policy.newest)


def previous(lives: Iterable[Life]) -> list[Life]:
    """The versions in memory that had the traffic before, the last one first: what a rollback can go to at once."""
    return [life for life in had_the_traffic(lives) if life.phase in WARM]


def had_the_traffic(lives: Iterable[Life]) -> list[Life]:
    """The published versions that had the traffic before and have it no more, the last one first."""
    before = [life for life in lives if life.revision and not life.current and life.published]
    return sorted(before, key=lambda life: life.revision, reverse=True)


def _to_be_had(life: Life) -> bool:
    return life.published or life.phase in IN_MEMORY


def _newest(published: Sequence[Life], count: int) -> list[Life]:
    working = 0
    for place, life in enumerate(published, 1):
        working += not life.failures
        if working == count:
            return list(published[:place])
    return list(published)
