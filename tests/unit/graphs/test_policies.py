"""A node's policies: each try has its time, failures are tried again, a stand-in answers, slow calls are hedged."""

import asyncio
import gc
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from configs.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidInput,
    MillraceError,
    NodeDied,
    NodeError,
    NodeTimeout,
    Overloaded,
    RowErrors,
    Unavailable,
)
from configs.graph import NodeBase
from configs.tensors import Rows, TensorSpec
from graphs.batcher import BatchTiming
from graphs.frame import Frame
from graphs.policies import HEDGED_SHARE, Hedge, constant_call, guard
from graphs.run import Answer, NodeCall, Run, Trace
from graphs.terms import Terms

ROWS = {"x": np.zeros((2, 1), np.float32)}
SPECS = {"y": TensorSpec.model_validate("FP32[-1, 2]")}


def run(left_s: float = math.inf) -> Run:
    return Run(Frame(2, (), {}, {}), Trace(), Terms(time.monotonic() + left_s))


class Node:
    """Raises what it is given, one a call, then answers with the number of the call."""

    def __init__(self, *errors: BaseException, seconds: Sequence[float] = ()) -> None:
        self.errors, self.seconds, self.calls = list(errors), list(seconds), 0
        self.terms: list[Terms] = []

    async def __call__(self, rows: Rows, count: int, run: Run) -> Answer:
        self.calls += 1
        self.terms.append(run.terms)
        number = self.calls
        if self.seconds:
            await asyncio.sleep(self.seconds.pop(0))
        if self.errors:
            raise self.errors.pop(0)
        return {"y": np.full(count, number)}, BatchTiming(0, 0, {}, count)


async def answer(call: NodeCall, asked: Run | None = None) -> int:
    outputs, _ = await call(ROWS, 2, asked or run())
    return int(outputs["y"][0])


def guarded(node: NodeCall, fallback: NodeCall | None = None, **config: Any) -> NodeCall:
    return guard(node, "n", NodeBase(**config), fallback=fallback)


async def test_a_try_that_takes_too_long() -> None:
    with pytest.raises(NodeTimeout, match=r"node n had no answer within its timeout_s of 0\.01"):
        await answer(guarded(Node(seconds=[5]), timeout_s=0.01))


async def test_a_nodes_own_timeout_error_is_not_taken_for_the_policys() -> None:
    with pytest.raises(TimeoutError, match="of the database"):
        await answer(guarded(Node(TimeoutError("of the database")), timeout_s=5))


async def test_a_try_has_its_end_as_deadline_so_that_queues_know_it() -> None:
    node = Node()
    await answer(guarded(node, timeout_s=5), run(60))
    await answer(guarded(node, timeout_s=60), run(5))
    assert all(terms.left_s == pytest.approx(5, abs=0.5) for terms in node.terms)


async def test_a_queue_that_drops_a_try_at_its_end_means_the_nodes_timeout() -> None:
    with pytest.raises(NodeTimeout):
        await answer(guarded(Node(DeadlineExceeded("late")), timeout_s=5), run(60))
    with pytest.raises(DeadlineExceeded):
        await answer(guarded(Node(DeadlineExceeded("late")), timeout_s=5), run(-1))


async def test_the_requests_deadline_within_a_try_is_not_the_nodes_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await answer(guarded(Node(seconds=[5]), timeout_s=1))


@pytest.mark.parametrize("error", [NodeError("broken"), NodeTimeout("slow"), Unavailable("gone")], ids=repr)
async def test_failures_that_may_pass_are_tried_again(error: MillraceError) -> None:
    asked = run()
    assert await answer(guarded(Node(error, error), retries=2), asked) == 3
    assert asked.trace.events == [("n", "retry", 1)] * 2


@pytest.mark.parametrize(
    "error",
    [InvalidInput("bad"), RowErrors({0: "bad"}), Overloaded("full"), DeadlineExceeded("late"), NodeDied("twice")],
    ids=repr,
)
async def test_what_another_try_would_not_cure_is_not_tried_again(error: MillraceError) -> None:
    node = Node(error)
    with pytest.raises(type(error)):
        await answer(guarded(node, retries=3))
    assert node.calls == 1


async def test_the_last_failure_is_the_answer_when_all_tries_fail() -> None:
    with pytest.raises(NodeError, match="second"):
        await answer(guarded(Node(NodeError("first"), NodeError("second")), retries=1))


async def test_no_try_is_waited_for_that_the_deadline_leaves_no_time_for() -> None:
    node = Node(NodeError("broken"))
    with pytest.raises(NodeError, match="broken"):
        await answer(guarded(node, retries=3), run(0.01))
    assert node.calls == 1


async def test_each_try_has_its_own_timeout() -> None:
    assert await answer(guarded(Node(seconds=[5, 5, 0]), timeout_s=0.01, retries=2)) == 3


@pytest.mark.parametrize(
    "error", [NodeError("broken"), NodeDied("twice"), Unavailable("gone"), Overloaded("full")], ids=repr
)
async def test_the_stand_in_answers_when_all_tries_failed(error: MillraceError) -> None:
    node, asked = Node(error, error), run()
    assert await answer(guarded(node, Node(), retries=0), asked) == 1
    assert asked.trace.events == [("n", "fallback", 1)]


async def test_bad_rows_are_not_sent_to_the_stand_in() -> None:
    stand_in = Node()
    with pytest.raises(InvalidInput):
        await answer(guarded(Node(InvalidInput("bad")), stand_in))
    assert stand_in.calls == 0


async def test_what_the_stand_in_says_is_not_remembered() -> None:
    node, stand_in = Node(NodeError("broken")), Node()
    call = guarded(node, stand_in, cache={})
    await answer(call)
    assert (node.calls, stand_in.calls) == (1, 1)
    assert await answer(call) == 2
    assert await answer(call) == 2
    assert (node.calls, stand_in.calls) == (2, 1)


async def hedged(node: NodeCall, credit: int = 40) -> Hedge:
    """A hedge that has seen calls of no length, and may make some calls twice."""
    hedge = Hedge(Node(), "n")
    for _ in range(50 + credit):
        await answer(hedge)
    hedge._call = node
    return hedge


async def test_a_slow_call_is_made_again_and_the_first_answer_taken() -> None:
    node, asked = Node(seconds=[5, 0]), run()
    assert await answer(await hedged(node), asked) == 2
    assert asked.trace.events == [("n", "hedge", 1), ("n", "hedge won", 1)]


async def test_the_first_call_may_still_win() -> None:
    asked = run()
    assert await answer(await hedged(Node(seconds=[0.02, 5])), asked) == 1
    assert asked.trace.events == [("n", "hedge", 1)]


async def test_a_second_call_that_loses_is_cancelled_and_a_first_that_is_overtaken_is_not() -> None:
    ended: list[tuple[int, str]] = []

    def node(*seconds: float) -> NodeCall:
        calls = iter(enumerate(seconds))

        async def call(rows: Rows, count: int, run: Run) -> Answer:
            number, length = next(calls)
            try:
                await asyncio.sleep(length)
                ended.append((number, "answered"))
            except asyncio.CancelledError:
                ended.append((number, "cancelled"))
                raise
            return {"y": np.zeros(count)}, BatchTiming(0, 0, {}, count)

        return call

    await answer(await hedged(node(0.02, 5)))
    await asyncio.sleep(0)
    assert ended == [(0, "answered"), (1, "cancelled")]
    ended.clear()
    hedge = await hedged(node(0.05, 0))
    await answer(hedge)
    assert ended == [(1, "answered")]
    await asyncio.wait(hedge._overtaken)
    assert ended == [(1, "answered"), (0, "answered")]
    assert not hedge._overtaken


async def test_leaving_cancels_both_calls() -> None:
    running, both = 0, asyncio.Event()

    async def node(rows: Rows, count: int, run: Run) -> Answer:
        nonlocal running
        running += 1
        if running == 2:
            both.set()
        try:
            await asyncio.sleep(5)
        finally:
            running -= 1
        raise AssertionError

    task = asyncio.create_task(answer(await hedged(node)))
    await both.wait()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert running == 0


async def test_a_call_that_fails_waits_for_the_other() -> None:
    node = Node(NodeError("broken"), seconds=[0.1, 0.12])
    assert await answer(await hedged(node)) == 2


async def test_when_both_fail_the_error_is_a_nodes() -> None:
    with pytest.raises(NodeError, match=r"one|two"):
        await answer(await hedged(Node(NodeError("one"), NodeError("two"), seconds=[0.01, 0.01])))


async def test_a_failure_before_the_second_call_is_the_answer() -> None:
    node = Node(NodeError("broken"))
    with pytest.raises(NodeError):
        await answer(await hedged(node))
    assert node.calls == 1


async def test_a_losers_failure_is_not_complained_of() -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def node(rows: Rows, count: int, run: Run) -> Answer:
        try:
            await asyncio.sleep(5)
        finally:
            raise NodeError("on the way out")

    task = asyncio.create_task(answer(await hedged(node)))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    del task
    gc.collect()
    assert complaints == []


async def test_a_node_that_is_slow_altogether_gets_at_most_a_twentieth_more_calls() -> None:
    node = Node()
    hedge = await hedged(node, credit=0)

    async def slow(rows: Rows, count: int, run: Run) -> Answer:
        node.calls += 1
        await asyncio.sleep(0.005)
        return {"y": np.zeros(count)}, BatchTiming(0, 0, {}, count)

    hedge._call = slow
    for _ in range(10):
        await asyncio.gather(*(answer(hedge) for _ in range(40)))
    assert 400 < node.calls <= 400 + (450 * HEDGED_SHARE)


async def constant(values: dict[str, Any], specs: dict[str, TensorSpec]) -> Rows:
    outputs, _ = await constant_call("n", values, specs)(ROWS, 2, run())
    return outputs


async def test_a_constant_is_given_to_every_row_in_the_outputs_datatype() -> None:
    outputs = await constant({"y": [1, 2]}, SPECS)
    assert outputs["y"].dtype == np.float32
    assert outputs["y"].tolist() == [[1, 2], [1, 2]]


@pytest.mark.parametrize("specs", [{}, {"y": TensorSpec.model_validate("BYTES[-1]")}])
async def test_a_constant_of_text_is_bytes(specs: dict[str, TensorSpec]) -> None:
    outputs = await constant({"y": "unknown"}, specs)
    assert outputs["y"].tolist() == [b"unknown", b"unknown"]


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        ("FP32[-1, 2]", [1, 2, 3], r"fallback.constant.y is no FP32\[-1, 2\]: its shape is \[3\] a row"),
        ("FP32[-1]", "text", "it is BYTES"),
        ("BYTES[-1]", 3, "it is INT64"),
        ("UINT8[-1]", 300, "it does not fit"),
        ("INT64[-1]", 1.5, "it does not fit"),
        ("FP32[-1, 2]", [[1], [2, 3]], "inhomogeneous"),
    ],
)
def test_a_constant_that_is_not_what_the_node_gives(spec: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        constant_call("n", {"y": value}, {"y": TensorSpec.model_validate(spec)})


def test_a_constant_must_give_every_output() -> None:
    with pytest.raises(ConfigError, match=r"fallback\.constant has z, but the node gives y"):
        constant_call("n", {"z": 1}, SPECS)
