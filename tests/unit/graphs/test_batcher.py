"""The batcher: at once when idle, together when busy, and only the bad fail."""

import asyncio
import threading

import numpy as np
import pytest

from configs.errors import InvalidInput, NodeError, Unavailable
from configs.graph import Batch
from graphs.batcher import Batcher

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
