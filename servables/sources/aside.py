"""Ask what may hang in a thread of its own, so that a registry that is away holds nobody up."""

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock, Thread
from typing import Generic, TypeVar

from configs.errors import NotAnswered

T = TypeVar("T")

SHORT_S = 5.0
"""Patience of who asks again and again: longer than the first answer of an MLflow registry takes (1 s)."""
LONG_S = 20.0
"""Patience of who cannot go on without the answer."""
SHARED_S = 1.0
"""How long an answer that came late counts for those who ask after the first that it is given to."""
GIVEN_UP_S = 60.0
"""After so long without an answer the question is asked again."""
MOST_THREADS = 8
"""Questions without an answer that there may be at a time; each keeps a thread."""


class _Question(Generic[T]):
    def __init__(self, now: float) -> None:
        self.answer: Future[T] = Future()
        self.asked_at = now
        self.late = False
        self.taken_at: float | None = None
        """When a late answer was given to somebody."""


class Aside(Generic[T]):
    """One question for all who ask meanwhile; an answer that comes late is given to who asks next.

    Args:
        place: whom it asks, for messages.
        ask: gives the answer.
        clock: seconds.
    """

    def __init__(self, place: str, ask: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._ask, self._clock = place, ask, clock
        self._lock = Lock()
        self._asked: _Question[T] | None = None
        self._given_up: list[_Question[T]] = []

    def __call__(self, patience_s: float) -> T:
        """The answer. Raises what `ask` raises, or NotAnswered if it takes longer than `patience_s` since it was asked.

        So whoever finds a question that is late already does not wait.
        """
        with self._lock:
            question = self._question()
        wait([question.answer], max(0.0, question.asked_at + patience_s - self._clock()))
        with self._lock:
            if not question.answer.done():
                question.late = True
                raise NotAnswered(f"{self._place} has not answered yet; what is known of it stays as it is")
            self._take(question)
        return question.answer.result()

    def _question(self) -> _Question[T]:
        """The one that is under way or was answered late, else a new one."""
        now, asked = self._clock(), self._asked
        self._given_up = [each for each in self._given_up if not each.answer.done()]
        if asked is None or (asked.taken_at is not None and now - asked.taken_at > SHARED_S):
            return self._start(now)
        hangs = not asked.answer.done() and now - asked.asked_at > GIVEN_UP_S
        if hangs and len(self._given_up) < MOST_THREADS - 1:
            self._given_up.append(asked)
            return self._start(now)
        return asked

    def _take(self, question: _Question[T]) -> None:
        if not question.late and self._asked is question:
            self._asked = None
        question.taken_at = question.taken_at or self._clock()

    def _start(self, now: float) -> _Question[T]:
        self._asked = question = _Question[T](now)
        # No pool: its threads would hold up the end of the process.
        Thread(target=self._answer, args=[question.answer], daemon=True, name="millrace-source").start()
        return question

    def _answer(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask())
        except BaseException as error:  # noqa: BLE001  whoever asked gets it
            answer.set_exception(error)
