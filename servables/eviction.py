"""Which models leave a pool so that others fit."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from servables.memory import Memory


class Sized(Protocol):
    """Anything that takes memory."""

    @property
    def memory(self) -> Memory:
        """Bytes that are free when it is gone."""
        ...


T = TypeVar("T", bound=Sized)


def victims(idle: Iterable[T], shortage: Memory) -> list[T]:
    """The least recently used that together have what is missing; all that have any of it, if they don't.

    Those of which the others make up are spared, the latest first: if a large one must go, the small ones that were
    taken before it need not.

    Args:
        idle: what may leave, the least recently used first.
        shortage: bytes that are missing.
    """
    chosen: list[T] = []
    missing = shortage
    for one in idle:
        if missing == Memory():
            break
        if one.memory.eases(missing):
            chosen.append(one)
            missing = missing.beyond(one.memory)
    if missing != Memory():
        return chosen
    return _needed(chosen, shortage)


def covers(chosen: Iterable[Sized], shortage: Memory) -> bool:
    """Whether what is missing is there when they are gone."""
    return shortage.fits(_sum(chosen))


def _needed(chosen: list[T], shortage: Memory) -> list[T]:
    spare = _sum(chosen) - shortage
    needed: list[T] = []
    for one in reversed(chosen):
        if one.memory.fits(spare):
            spare -= one.memory
        else:
            needed.insert(0, one)
    return needed


def _sum(models: Iterable[Sized]) -> Memory:
    return sum((one.memory for one in models), Memory())
