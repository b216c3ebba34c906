"""Ask what may hang in a thread of its own, so that a registry that is away holds nobody up."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Generic, TypeVar

from configs.errors import ModelError

T = TypeVar("T")

FIRST_S = 20.0
"""Patience with the first answer, for which libraries are imported and connections are made."""
PATIENCE_S = 2.0
"""Patience with each later one."""


class Aside(Generic[T]):
    """One question at a time; an answer that comes late is given to who asks next.

    Args:
        place: whom it asks, for messages.
        ask: gives the answer.
    """

    def __init__(self, place: str, ask: Callable[[], T]) -> None:
        self._place, self._ask = place, ask
        self._lock = Lock()
        self._asked: Future[T] | None = None
        self._patience = FIRST_S

    def __call__(self) -> T:
        """The answer. Raises what `ask` raises, or ModelError if it takes too long."""
        with self._lock:
            fresh = self._asked is None
            future = self._asked or self._start()
        wait([future], self._patience if fresh else 0)
        if not future.done():
            raise ModelError(f"{self._place} has not answered yet; what is known of it stays as it is")
        with self._lock:
            if self._asked is future:
                self._asked = None
        self._patience = PATIENCE_S
        return future.result()

    def _start(self) -> Future[T]:
        future: Future[T] = Future()
        self._asked = future
        # No pool: its threads would hold up the end of the process.
        Thread(target=self._answer, args=[future], daemon=True, name="millrace-source").start()
        return future

    def _answer(self, future: Future[T]) -> None:
        try:
            future.set_result(self._ask())
        except BaseException as error:  # noqa: BLE001  whoever asked gets it
            future.set_exception(error)
