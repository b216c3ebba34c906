"""Random mixes of cancel, poison, expire and priority: each accepted request gets exactly one answer, its own.

Everything runs on a simulated clock, without threads: a failing mix is replayed exactly. A long run is

    HYPOTHESIS_PROFILE=long python -m pytest tests/unit/graphs/test_isolation.py --timeout 3600
"""

import asyncio
import math
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from configs.errors import DeadlineExceeded, InvalidInput, MillraceError, NodeError, Overloaded, RowErrors
from configs.node_options import Batch
from graphs import executor as executor_module
from graphs import policies, terms
from graphs.batcher import Batcher
from graphs.executor import Executor
from graphs.line import rank
from graphs.terms import Terms
from servables.base import LoadOptions
from tests.support.graphs import load_inline, plan
from tests.support.simulated import BREAKS, NAMES_ROWS, REFUSED, Clock, SimulatedLoop, Unthreaded, poisonable

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
SETTINGS = settings(
    max_examples=1000 if LONG else 25,
    stateful_step_count=50 if LONG else 30,
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
)
MOST = 8

REQUESTS = st.tuples(
    st.integers(1, 4),
    st.integers(0, 30),
    st.integers(0, 3),
    st.sampled_from([math.inf, 0.03, 0.1, 0.3, 1.0]),
    st.sampled_from([1, 9, 10, 10, 10, 11, 100]),
)
"""Rows, which poison (most are none), at which row, seconds until the deadline, priority."""


@dataclass(eq=False)
class Asked:
    """A request, and what the test did to it."""

    number: int
    values: list[float]
    terms: Terms
    arrived: float
    task: "asyncio.Task[np.ndarray]"
    cancelled: bool = False

    @property
    def order(self) -> tuple[int, float, int]:
        return rank(self.terms, self.arrived), self.terms.deadline, self.number

    @property
    def poisons(self) -> set[float]:
        return {value for value in self.values if value < 0}


class Mix(RuleBasedStateMachine):
    """What is the same for batcher and executor; `factor` is what they multiply by."""

    factor = 2
    poisons: ClassVar[dict[float, type[MillraceError]]] = {
        BREAKS: NodeError,
        NAMES_ROWS: RowErrors,
        REFUSED: InvalidInput,
    }

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.loop = SimulatedLoop(self.clock)
        self.complaints: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.asked: list[Asked] = []
        self.leaving: list[Asked] = []
        self.first_call = False
        self.call_s = 0.0

    def ask(self, rows: np.ndarray, terms_: Terms) -> Coroutine[Any, Any, np.ndarray]:
        raise NotImplementedError

    def step(self, choice: int) -> bool:
        raise NotImplementedError

    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=6))
    def arrive(self, requests: list[tuple[int, int, int, float, int]]) -> None:
        for rows, poison, at, left_s, priority in requests:
            number = len(self.asked)
            values = [float(number + 1)] * rows
            if poison < len(self.poisons):
                values[at % rows] = list(self.poisons)[poison]
            terms_ = Terms(self.clock.now + left_s, priority)
            x = np.array([[value, value] for value in values], np.float32)
            task = self.loop.begin(self.ask(x, terms_))
            self.asked.append(Asked(number, values, terms_, self.clock.now, task))

    @rule(which=st.integers(0, 1000))
    def cancel(self, which: int) -> None:
        if waiting := self.waiting():
            self._cancel(waiting[which % len(waiting)])
            self.loop.turn()

    @rule(which=st.integers(0, 1000))
    def cancel_within_the_next_call(self, which: int) -> None:
        if waiting := self.waiting():
            self.leaving.append(waiting[which % len(waiting)])

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.3, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.loop.turn()

    @rule(choice=st.integers(0, 2), call_s=st.sampled_from([0.0, 0.02, 0.2]))
    def call(self, choice: int, call_s: float) -> None:
        self.call_s, self.first_call = call_s, True
        self.step(choice)
        self.first_call = False
        self.loop.turn()

    def within_a_call(self) -> None:
        """Time passes and callers leave while a model computes."""
        self.clock.now += self.call_s
        for asked in self.leaving:
            self._cancel(asked)
        self.leaving.clear()

    def _cancel(self, asked: Asked) -> None:
        asked.cancelled = asked.task.cancel() or asked.cancelled

    def waiting(self) -> list[Asked]:
        return [asked for asked in self.asked if not asked.task.done()]

    @invariant()
    def answers_are_right(self) -> None:
        for asked in self.asked:
            if asked.task.done():
                self.check(asked)
        assert not self.complaints

    def check(self, asked: Asked) -> None:
        if asked.task.cancelled():
            assert asked.cancelled
            return
        match error := asked.task.exception():
            case None:
                assert not asked.poisons
                assert asked.task.result()[:, 0].tolist() == [self.factor * value for value in asked.values]
            case DeadlineExceeded():
                assert asked.terms.deadline <= self.clock.now + 1e-6
            case Overloaded():
                assert error.retry_after_s > 0
                assert asked.number > 0, "an idle model takes everything"
            case _:
                assert type(error) in {self.poisons[poison] for poison in asked.poisons}
                if isinstance(error, RowErrors):
                    assert set(error.reasons) == {i for i, value in enumerate(asked.values) if value < 0}

    def teardown(self) -> None:
        for _ in range(10_000):
            self.call_s = 0.001
            called = [self.step(choice) for choice in range(3)]
            self.clock.now += 0.01
            self.loop.turn()
            if not any(called) and not self.waiting():
                break
        assert not self.waiting(), "everyone has an answer"
        self.answers_are_right()
        self.takes_anything()
        self.loop.close()

    def takes_anything(self) -> None:
        """Nothing is left behind: an idle model takes what it could hardly do in time."""
        task = self.loop.begin(self.ask(np.full((MOST, 2), 7, np.float32), Terms(self.clock.now + 0.05)))
        self.call_s = 0.0
        for choice in range(90):
            self.step(choice)
            self.clock.now += 0.0005
            self.loop.turn()
        assert task.exception() is None


class BatcherMix(Mix):
    """One batcher; the order in which it takes requests is checked too."""

    def __init__(self) -> None:
        super().__init__()
        batch = Batch(max_rows=MOST, max_wait_s=1)
        self.batcher = Unthreaded(self.model, batch, clock=self.clock.monotonic)

    async def _ask(self, rows: np.ndarray, terms_: Terms) -> np.ndarray:
        outputs, _ = await self.batcher({"x": rows}, len(rows), terms_)
        return outputs["y"]

    def ask(self, rows: np.ndarray, terms_: Terms) -> Coroutine[Any, Any, np.ndarray]:
        return self._ask(rows, terms_)

    def step(self, choice: int) -> bool:
        return self.batcher.step()

    def model(self, arrays: dict[str, np.ndarray], count: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        if not count == len(arrays["x"]) <= MOST:
            self.complaints.append({"rows": count, "limit": MOST})
        if self.first_call:
            self.first_call = False
            self.check_order(arrays["x"][:, 0].tolist())
        self.within_a_call()
        return poisonable(**arrays), {}

    def check_order(self, called: list[float]) -> None:
        """Those first in line are called, as many as fit."""
        line = sorted((a for a in self.waiting() if a.terms.deadline > self.clock.now), key=lambda a: a.order)
        expected: list[float] = []
        for asked in line:
            if len(expected) + len(asked.values) > MOST:
                break
            expected += asked.values
        if called != expected:  # raised here it would be the model's failure, and the batcher would call it again
            self.complaints.append({"called": called, "expected": expected, "line": line})


class ExecutorMix(Mix):
    """Three steps: a batched node, a coroutine, and a node that is tried twice."""

    factor = 8
    poisons = Mix.poisons | {BREAKS / 2: NodeError, BREAKS / 4: NodeError, REFUSED / 4: InvalidInput}

    def __init__(self) -> None:
        super().__init__()
        self.patches = [patch.object(module, "time", self.clock) for module in (terms, policies, executor_module)]
        self.patches.append(patch.object(executor_module, "Batcher", self.batcher))
        for each in self.patches:
            each.start()
        self.batchers: list[Batcher[Any]] = []
        node = "tests.support.simulated:"
        nodes = {
            "a": {"call": node + "poisonable", "inputs": {"x": "x"}},
            "b": {"call": node + "awaited", "inputs": {"x": "a.y"}},
            "c": {"call": node + "poisonable", "inputs": {"x": "b.y"}, "retries": 1},
        }
        plan_ = plan(nodes, {"y": "c.y"}, batch={"max_rows": MOST, "max_wait_s": 1})
        self.executor = Executor(plan_, load_inline(plan_, Path.cwd(), LoadOptions()), {})

    def batcher(self, call: Any, batch: Batch, *others: Any) -> Unthreaded:
        def slow(arrays: dict[Any, np.ndarray], count: int) -> Any:
            self.within_a_call()
            return call(arrays, count)

        made = Unthreaded(slow, batch, *others, clock=self.clock.monotonic)
        self.batchers.append(made)
        return made

    async def _ask(self, rows: np.ndarray, terms_: Terms) -> np.ndarray:
        outputs, _ = await self.executor.run({"x": rows}, len(rows), terms_)
        return outputs["y"]

    def ask(self, rows: np.ndarray, terms_: Terms) -> Coroutine[Any, Any, np.ndarray]:
        return self._ask(rows, terms_)

    def step(self, choice: int) -> bool:
        return self.batchers[choice % len(self.batchers)].step()

    def teardown(self) -> None:
        super().teardown()
        for each in self.patches:
            each.stop()


TestBatcherMix = BatcherMix.TestCase
TestBatcherMix.settings = SETTINGS
TestExecutorMix = ExecutorMix.TestCase
TestExecutorMix.settings = SETTINGS
