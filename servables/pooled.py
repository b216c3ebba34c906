"""What a pool of models consists of: where they come from, loaded ones, and loads that somebody waits for."""

import asyncio
import copy
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from configs.errors import MillraceError
from servables.memory import Memory

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Asked = TypeVar("Asked", contravariant=True)


class Source(Protocol[Asked, V]):
    """Where a pool's models come from. Its methods are called in threads, several at a time."""

    def expected(self, key: Asked) -> Memory:
        """What the model will about take: the size of its files. Asked before its first load. Raises MillraceError."""
        ...

    def load(self, key: Asked) -> tuple[V, Memory]:
        """A model that is ready to be called, and what it takes. Raises MillraceError, or anything."""
        ...

    def close(self, model: V) -> None:
        """Free what it takes. Nobody calls it any more."""
        ...


@dataclass
class Counts:
    """What has happened since the pool was made."""

    hits: int = 0
    """Uses that found the model loaded."""
    misses: int = 0
    """Uses that did not, of which some shared a load."""
    loads: int = 0
    """Loads that ended well."""
    failures: int = 0
    """Loads that did not."""
    evictions: int = 0
    """Models that left so that others had room."""


@dataclass(eq=False, slots=True)
class Model(Generic[K, V]):
    """A loaded model."""

    key: K
    content: V
    memory: Memory
    users: int = 0
    leaving: bool = False
    """It is closed when its last user has gone."""


@dataclass(eq=False, slots=True)
class Load(Generic[K, V]):
    """One load of a model, for all who wait for it."""

    key: K
    waiters: list[asyncio.Future[Model[K, V]]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    room: asyncio.Future[None] | None = None
    """Set when it begins."""
    begun: bool = False
    """Memory and a thread are kept for it; it can no longer be cancelled."""
    memory: Memory = field(default_factory=Memory)
    """What it is expected to take, which is kept for it once it has begun."""
    dropped: bool = False
    """It is for those only who wait for it."""
    patient: bool = False
    """It begins when no other waits for room."""

    def tell(self, error: MillraceError) -> None:
        """Fail those who wait, each by an error of its own: an exception keeps where it was raised."""
        for waiter in self.waiters:
            if not waiter.done():
                told = copy.copy(error)
                told.__cause__ = error.__cause__
                waiter.set_exception(told)
        self.waiters.clear()

    def give(self, model: Model[K, V]) -> None:
        """Let those who wait use it. Each is counted now, not when it wakes up: between the two, others run."""
        for waiter in self.waiters:
            if not waiter.done():
                model.users += 1
                waiter.set_result(model)
        self.waiters.clear()
