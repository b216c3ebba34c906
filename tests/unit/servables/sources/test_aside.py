"""Who asks a source that is slow or hangs: all get one answer, nobody waits longer than he would."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from configs.errors import ModelError, NotAnswered
from servables.sources.aside import GIVEN_UP_S, MOST_THREADS, SHARED_S, Aside


class Registry:
    """Answers with the number of the question, once it is let."""

    def __init__(self) -> None:
        self.now, self.looks, self.questions = 0.0, 0, itertools.count(1)
        self.asked, self.goes_on, self.answered = threading.Event(), threading.Event(), threading.Event()
        self.ask = Aside("mlflow:m", self._answer, self._clock)

    def _clock(self) -> float:
        self.looks += 1
        return self.now

    def _answer(self) -> int:
        number = next(self.questions)
        self.asked.set()
        self.goes_on.wait()
        return number

    def is_late(self) -> None:
        with pytest.raises(NotAnswered, match="mlflow:m has not answered yet"):
            self.ask(0.0)

    def answer(self) -> None:
        """Let it answer, and wait until it has."""
        under_way = self.ask._asked
        assert under_way is not None
        self.goes_on.set()
        under_way.answer.result()


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_two_who_ask_at_the_same_time_get_one_answer(registry: Registry) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(registry.ask, 60.0)
        registry.asked.wait()
        second = pool.submit(registry.ask, 60.0)
        while registry.looks < 3:  # the second one looks when it has found the question
            time.sleep(0.001)
        registry.goes_on.set()
        assert (first.result(), second.result()) == (1, 1)
    assert registry.ask(60.0) == 2


def test_nobody_waits_for_a_question_that_is_late(registry: Registry) -> None:
    registry.is_late()
    registry.now = GIVEN_UP_S / 2
    with pytest.raises(ModelError, match="has not answered yet"):
        registry.ask(registry.now)
    registry.answer()
    assert registry.ask(0.0) == 1


def test_a_late_answer_is_given_to_all_who_ask_soon_after(registry: Registry) -> None:
    registry.is_late()
    registry.answer()
    assert [registry.ask(0.0) for _ in range(3)] == [1, 1, 1]
    registry.now += SHARED_S * 2
    assert registry.ask(60.0) == 2


def test_what_hangs_is_asked_again_by_so_many_threads_at_most(registry: Registry) -> None:
    for _ in range(MOST_THREADS + 3):
        registry.is_late()
        registry.now += GIVEN_UP_S + 1
    hanging = list(registry.ask._given_up)
    assert len(hanging) == MOST_THREADS - 1
    registry.answer()
    for each in hanging:
        each.answer.result()
    registry.ask(0.0)
    registry.now += GIVEN_UP_S + 1
    assert registry.ask(60.0) == MOST_THREADS + 1
    assert registry.ask._given_up == []


def test_an_error_is_for_who_asked(registry: Registry) -> None:
    def fails() -> int:
        raise ModelError("away")

    with pytest.raises(ModelError, match="away"):
        Aside("mlflow:m", fails)(60.0)
