"""The place of what a node calls, in which a new version takes over from an old one between two calls."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Called(NamedTuple):
    """What a call used."""

    node: str
    version: str
    """Of the node's servable; empty for code."""


class Occupant(Generic[T]):
    """What is, or was, in a slot."""

    __slots__ = ("calls", "content")

    def __init__(self, content: T) -> None:
        self.content = content
        self.calls = 0
        """Calls of it that are under way."""


class Slot(Generic[T]):
    """Calls use what is in it when they begin, and keep that until they end. Thread-safe."""

    def __init__(self, content: T) -> None:
        self._occupant = Occupant(content)
        self._lock = threading.Lock()

    @property
    def content(self) -> T:
        """What the next call uses."""
        return self._occupant.content

    @contextmanager
    def used(self) -> Iterator[T]:
        """What to call, within this context."""
        with self._lock:  # else a call could begin with what was just found to have none
            occupant = self._occupant
            occupant.calls += 1
        try:
            yield occupant.content
        finally:
            with self._lock:
                occupant.calls -= 1

    def put(self, content: T) -> Occupant[T]:
        """Let calls from now on use this. Gives what was there, which is free when its `calls` are 0."""
        with self._lock:
            before, self._occupant = self._occupant, Occupant(content)
        return before
