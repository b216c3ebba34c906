"""The batcher: at once when idle, together when busy, and only the bad fail."""

import asyncio
import math
import threading
from typing import Any

import numpy as np
import pytest

from configs.errors import DeadlineExceeded, InvalidInput, NodeError, Overloaded, RowErrors, Unavailable
from configs.node_options import Batch
from graphs.batcher import Batcher
from graphs.terms import Terms
from tests.support.simulated import BREAKS, NAMES_ROWS, Clock, Unthreaded, poisonable

Answer = tuple[dict[str, np.ndarray], dict[str, float]]


class Recorder:
    """A model that records the rows of its calls; while `gate` is closed a call waits."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, arrays: dict[str, np.ndarray], count: int) -> Answer:
        self.calls.append(count)
        self.entered.set()
        assert self.gate.wait(10)
        if (arrays["x"] < 0).any():
            raise InvalidInput("negative")
        if (arrays["x"] == 13).any():
            raise RuntimeError("unlucky")
        return {"y": arrays["x"] * 2}, {"model": 0.001}


@pytest.fixture
def model() -> Recorder:
    return Recorder()


@pytest.fixture
def batcher(model: Recorder):
    batcher: Batcher[str] = Batcher(model, Batch(max_rows=8))
    yield batcher
    model.gate.set()
    batcher.close()


def item(*values: float) -> tuple[dict[str, np.ndarray], int]:
    return {"x": np.array(values, np.float32)}, len(values)


async def busy(batcher: Batcher[str], model: Recorder) -> "asyncio.Task[object]":
    """A first call that holds the model until the gate opens."""
    model.gate.clear()
    first = asyncio.create_task(batcher(*item(0)))
    await asyncio.to_thread(model.entered.wait, 10)
    return first


async def test_idle_model_is_called_at_once(batcher: Batcher[str], model: Recorder) -> None:
    outputs, timing = await batcher(*item(1, 2))
    assert outputs["y"].tolist() == [2, 4]
    assert (timing.rows, model.calls) == (2, [2])


async def test_rows_gather_while_busy_up_to_the_limit(batcher: Batcher[str], model: Recorder) -> None:
    first = await busy(batcher, model)
    others = [asyncio.create_task(batcher(*item(i, i))) for i in range(1, 6)]
    await asyncio.sleep(0)
    assert batcher.waiting == 5
    model.gate.set()
    answers = await asyncio.gather(first, *others)
    assert model.calls == [1, 8, 2]
    assert [outputs["y"].tolist() for outputs, _ in answers[1:]] == [[2 * i, 2 * i] for i in range(1, 6)]


async def test_only_the_bad_item_of_a_batch_fails(batcher: Batcher[str], model: Recorder) -> None:
    first = await busy(batcher, model)
    tasks = [asyncio.create_task(batcher(*item(value))) for value in (1, -1, 2, 13, 3)]
    await asyncio.sleep(0)
    model.gate.set()
    await first
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [a[0]["y"].tolist() for a in answers if not isinstance(a, BaseException)] == [[2], [4], [6]]
    assert isinstance(answers[1], InvalidInput)
    assert isinstance(answers[3], NodeError)
    assert "unlucky" in str(answers[3])


async def test_a_cancelled_item_leaves_before_the_call(batcher: Batcher[str], model: Recorder) -> None:
    first = await busy(batcher, model)
    kept, left = (asyncio.create_task(batcher(*item(i))) for i in (1, 2))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    model.gate.set()
    await asyncio.gather(first, kept)
    assert model.calls == [1, 1]


async def test_a_caller_that_leaves_during_the_call_harms_nobody(batcher: Batcher[str], model: Recorder) -> None:
    first = await busy(batcher, model)
    first.cancel()
    model.gate.set()
    assert (await batcher(*item(4)))[0]["y"].tolist() == [8]


async def test_different_shapes_are_not_mixed(batcher: Batcher[str], model: Recorder) -> None:
    first = await busy(batcher, model)
    flat = asyncio.create_task(batcher(*item(1)))
    wide = asyncio.create_task(batcher({"x": np.ones((1, 3), np.float32)}, 1))
    await asyncio.sleep(0)
    model.gate.set()
    answers = await asyncio.gather(first, flat, wide)
    assert answers[2][0]["y"].shape == (1, 3)
    assert model.calls == [1, 1, 1]


async def test_closing_answers_what_waits_and_refuses_the_rest(batcher: Batcher[str], model: Recorder) -> None:
    first = await busy(batcher, model)
    waiting = asyncio.create_task(batcher(*item(1)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(batcher.close))
    await asyncio.sleep(0.01)
    model.gate.set()
    await asyncio.gather(closing, first, waiting)
    with pytest.raises(Unavailable):
        await batcher(*item(1))


async def test_large_arrays_are_not_copied_together_on_a_cpu(model: Recorder) -> None:
    for limit, calls in ((1000, [1, 1, 1, 1]), (None, [1, 3])):
        model.calls.clear()
        model.entered.clear()
        batcher: Batcher[str] = Batcher(model, Batch(max_rows=8), max_bytes=limit)
        first = await busy(batcher, model)
        large = [asyncio.create_task(batcher({"x": np.ones((1, 200), np.float32)}, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *large)
        batcher.close()
        assert model.calls == calls


class Desk:
    """A batcher on a clock that only calls move: `fixed_s + each_s x rows`; poisonous values fail as `poisonable`."""

    def __init__(self, fixed_s: float = 0.01, each_s: float = 0.01, **batch: Any) -> None:
        self.clock, self.calls = Clock(), []
        self.fixed_s, self.each_s = fixed_s, each_s
        self.batcher = Unthreaded(self.model, Batch(**{"max_rows": 8, **batch}), clock=self.clock.monotonic)

    def model(self, arrays: dict[str, np.ndarray], count: int) -> Answer:
        self.calls.append(arrays["x"][:, 0].tolist())
        self.clock.now += self.fixed_s + self.each_s * count
        return poisonable(**arrays), {}

    async def ask(self, *values: float, left_s: float = math.inf, priority: int = 10) -> "asyncio.Task[Any]":
        terms = Terms(self.clock.now + left_s, priority)
        x = np.array([[value] for value in values], np.float32)
        task = asyncio.create_task(self.batcher({"x": x}, len(values), terms))
        await asyncio.sleep(0)
        return task

    async def work(self) -> None:
        self.batcher.work_off()
        for _ in range(3):
            await asyncio.sleep(0)

    async def practise(self) -> None:
        """Make calls of different sizes, so that their seconds are known."""
        for rows in (1, 8, 1, 8):
            await self.ask(*[5.0] * rows)
            await self.work()
        self.calls.clear()


async def test_priority_then_deadline_orders_the_line() -> None:
    desk = Desk(max_rows=1)
    for value, left_s, priority in ((1, math.inf, 10), (2, 9, 10), (3, 5, 10), (4, math.inf, 9), (5, 1, 11)):
        await desk.ask(value, left_s=left_s, priority=priority)
    await desk.work()
    assert desk.calls == [[4], [3], [2], [1], [5]]


async def test_who_expired_in_line_is_told_so_and_not_computed() -> None:
    desk = Desk()
    late, kept = await desk.ask(1, left_s=0.5), await desk.ask(2, left_s=5)
    desk.clock.now += 1
    await desk.work()
    assert isinstance(late.exception(), DeadlineExceeded)
    assert kept.result()[0]["y"].tolist() == [[4]]
    assert desk.calls == [[2]]


async def test_who_comes_too_late_is_not_let_in() -> None:
    desk = Desk()
    task = await desk.ask(1, left_s=0)
    assert isinstance(task.exception(), DeadlineExceeded)
    assert desk.batcher.waiting == 0


async def test_rows_beyond_what_can_be_done_in_time_are_refused_with_the_time_to_come_again() -> None:
    desk = Desk(max_wait_s=1)  # 0.09 s for 8 rows: 11 calls in a second
    await desk.practise()
    tasks = [await desk.ask(1) for _ in range(120)]
    refused = [task.exception() for task in tasks if task.done()]
    assert len(refused) == pytest.approx(120 - 8 * 1 / 0.09, abs=9)
    error = refused[0]
    assert isinstance(error, Overloaded)
    assert "node batcher is overloaded" in error.message
    assert error.retry_after_s == pytest.approx(0.09, abs=0.09)
    admitted = [task for task in tasks if not task.done()]
    await desk.work()
    assert all(task.exception() is None for task in admitted)


async def test_the_longer_the_wait_the_later_one_shall_come_again() -> None:
    desk = Desk(max_wait_s=1)
    await desk.practise()
    await desk.ask(*[1] * 80)
    small, large = await desk.ask(1, left_s=0.2), await desk.ask(*[1] * 80)
    for task, seconds in ((small, 0.81 + 0.1 - 0.2 / 1.25), (large, 0.81 * 2 - 1)):
        error = task.exception()
        assert isinstance(error, Overloaded)
        assert error.retry_after_s == pytest.approx(seconds, abs=0.2)


async def test_a_deadline_that_could_not_be_kept_is_refused_at_once() -> None:
    desk = Desk()
    await desk.practise()
    await desk.ask(*[1] * 8)
    hurried, patient = await desk.ask(2, left_s=0.05), await desk.ask(3, left_s=1)
    assert isinstance(hurried.exception(), Overloaded)
    assert not patient.done()


async def test_who_is_more_urgent_does_not_count_those_behind() -> None:
    desk = Desk()
    await desk.practise()
    for _ in range(20):
        await desk.ask(*[1] * 8, priority=50)
    urgent = await desk.ask(2, left_s=0.2, priority=1)
    await desk.work()
    assert urgent.exception() is None
    assert desk.calls[0][0] == 2


async def test_an_idle_model_takes_everything() -> None:
    desk = Desk(max_wait_s=0.001, fixed_s=5)
    await desk.practise()
    task = await desk.ask(*[1] * 100, left_s=0.1)
    await desk.work()
    assert task.exception() is None


async def test_those_who_left_are_not_waited_for() -> None:
    desk = Desk(max_wait_s=0.2)
    await desk.practise()
    for task in [await desk.ask(*[1] * 8) for _ in range(2)]:
        task.cancel()
    await asyncio.sleep(0)
    await desk.ask(1)
    await desk.work()
    assert desk.calls == [[1]]


async def test_rows_whose_caller_left_during_the_call_count_until_it_ends() -> None:
    desk = Desk(fixed_s=10)
    await desk.practise()
    first = await desk.ask(1)
    others: list[BaseException | None] = []

    def model(arrays: dict[str, np.ndarray], count: int) -> Answer:
        first.cancel()
        try:
            desk.batcher({"x": arrays["x"]}, 1, Terms(desk.clock.now + 0.1)).send(None)
        except Overloaded as error:
            others.append(error)
        return arrays, {}

    desk.batcher._call = model
    desk.batcher.step()
    assert len(others) == 1


async def test_calls_that_fail_take_time_too() -> None:
    desk = Desk(max_wait_s=1)
    for _ in range(3):
        await desk.ask(BREAKS)
        await desk.work()
    await desk.ask(*[1] * 8)
    for _ in range(60):
        task = await desk.ask(*[1] * 8)
    assert isinstance(task.exception(), Overloaded)


async def test_only_the_items_of_named_rows_fail_each_with_its_own_rows() -> None:
    desk = Desk()
    good, bad, worse, last = [
        await desk.ask(*values) for values in ((1, 2), (3, NAMES_ROWS), (NAMES_ROWS, NAMES_ROWS), (4,))
    ]
    await desk.work()
    assert [len(call) for call in desk.calls] == [7, 3]
    assert (good.exception(), last.exception()) == (None, None)
    for task, rows in ((bad, {1}), (worse, {0, 1})):
        error = task.exception()
        assert isinstance(error, RowErrors)
        assert set(error.reasons) == rows


@pytest.mark.parametrize("rows", [{99: "bad"}, {-1: "bad"}, {"a": "bad"}, {}], ids=repr)
async def test_named_rows_that_are_not_there_fail_the_call_and_not_the_batcher(rows: dict[Any, str]) -> None:
    desk = Desk()

    def wrong(arrays: dict[str, np.ndarray], count: int) -> Answer:
        raise RowErrors(rows)

    desk.batcher._call = wrong
    tasks = [await desk.ask(1), await desk.ask(2)]
    await desk.work()
    assert all(isinstance(task.exception(), NodeError) for task in tasks)


async def test_halving_finds_the_bad_one_and_answers_the_others_as_it_goes() -> None:
    desk = Desk()
    tasks = [await desk.ask(value) for value in (1, 2, 3, 4, 5, BREAKS, 7, 8)]
    await desk.work()
    assert [len(call) for call in desk.calls] == [8, 4, 4, 2, 1, 1, 2]
    assert [type(task.exception()) for task in tasks].count(NodeError) == 1


async def test_who_expires_while_a_batch_is_halved_is_not_called_again() -> None:
    desk = Desk(each_s=0.1)
    tasks = [await desk.ask(BREAKS), await desk.ask(2, left_s=0.1), await desk.ask(3)]
    await desk.work()
    assert isinstance(tasks[1].exception(), DeadlineExceeded)
    assert tasks[2].exception() is None
    assert not any(2 in call for call in desk.calls[1:])


async def test_two_threads_may_rouse_the_thread_at_once() -> None:
    batcher = Desk().batcher
    await asyncio.gather(*(asyncio.to_thread(lambda: [batcher._rouse() for _ in range(2000)]) for _ in range(4)))
