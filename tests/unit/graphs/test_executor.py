"""The executor: right answers whatever the plan, errors that name the node, nothing on the event loop."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from configs.errors import DeadlineExceeded, InvalidInput, NodeError, NodeTimeout, RowErrors, Unavailable
from configs.tensors import Rows
from graphs.batcher import BatchTiming
from graphs.executor import Executor
from graphs.run import Event
from graphs.slot import Called
from graphs.terms import Terms
from tests.support import nodes as support
from tests.support.graphs import NODES, add, cascade, executor, plan
from tests.support.simulated import NAMES_ROWS


def rows(*values: float) -> np.ndarray:
    return np.array([[value, value] for value in values], np.float32)


async def answer(runner: Executor, *values: float) -> np.ndarray:
    try:
        outputs, _ = await runner.run({"x": rows(*values)}, len(values))
    finally:
        runner.close()
    return outputs["y"][:, 0]


@pytest.fixture(autouse=True)
def _fresh_calls() -> None:
    support.CALLS.clear()


async def plus_hundred(rows_: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
    """Stands for a stage: adds 100."""
    support.CALLS.append(("stage", count, ""))
    return {"y": rows_["x"] + np.float32(100)}, BatchTiming(0, 0, {Called("big", ""): 0.0}, count)


plus_hundred.version = ""  # type: ignore[attr-defined]


async def test_inline_chain() -> None:
    assert (await answer(executor(plan({"a": add("x"), "b": add("a.y", 2)}, {"y": "b.y"})), 1, 5)).tolist() == [4, 8]


async def test_independent_branches_and_a_coroutine() -> None:
    nodes = {
        "a": add("x", 1),
        "c": {"call": NODES + "double", "inputs": {"x": "x"}},
        "m": {"ensemble": "mean", "inputs": {"members": ["a.y", "c.y"]}},
    }
    assert (await answer(executor(plan(nodes, {"y": "m.mean"})), 3)).tolist() == [5]


@pytest.mark.parametrize("values", [(1, 20, 2, 30), (20, 30), (1, 2)], ids=["mixed", "all confident", "none"])
@pytest.mark.parametrize("placed", [False, True])
async def test_cascade_keeps_row_order_and_spares_confident_rows(values: tuple[float, ...], placed: bool) -> None:
    nodes, outputs = cascade(isolate=placed)
    nodes["big"]["with"]["name"] = "big"
    runner = executor(plan(nodes, outputs), {"big": plus_hundred} if placed else None)
    assert (await answer(runner, *values)).tolist() == [v + 1 if v + 1 >= 10 else v + 100 for v in values]
    unsure = sum(v + 1 < 10 for v in values)
    seen = [count for name, count, _ in support.CALLS if name == ("stage" if placed else "big")]
    assert seen == ([unsure] if unsure else [])


async def test_a_switch_inside_a_case() -> None:
    nodes, _ = cascade()
    nodes["sign"] = {
        "switch": NODES + "positive",
        "inputs": {"x": "x"},
        "cases": {True: {"y": "pick.y"}, False: {"y": "x"}},
    }
    assert (await answer(executor(plan(nodes, {"y": "sign.y"})), -5, 20, 3)).tolist() == [-5, 21, 103]


async def test_requests_share_calls_while_the_node_is_busy() -> None:
    nodes = {"a": {**add("x"), "with": {"amount": 1, "sleep_s": 0.05}}}
    runner = executor(plan(nodes, {"y": "a.y"}))
    answers = await asyncio.gather(*(runner.run({"x": rows(i)}, 1) for i in range(10)))
    runner.close()
    assert [outputs["y"][0, 0] for outputs, _ in answers] == [i + 1 for i in range(10)]
    assert len(support.CALLS) <= 3
    assert max(trace.nodes[0].rows for _, trace in answers) >= 8


async def test_model_code_never_runs_on_the_event_loop() -> None:
    await answer(executor(plan({"a": add("x")}, {"y": "a.y"})), 1)
    assert support.CALLS[0][2] != threading.current_thread().name


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        ("broken", NodeError, "node a failed: RuntimeError: out of order"),
        ("wrong_rows", NodeError, r"node a returned y of shape \[0, 2\] for 1 rows"),
        ("not_a_dict", NodeError, "node a returned a ndarray; return a dict"),
        ("refuse_negative", InvalidInput, "negative value"),
    ],
)
async def test_node_errors(function: str, error: type[Exception], message: str) -> None:
    node = {"call": NODES + function, "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}}
    with pytest.raises(error, match=message):
        await answer(executor(plan({"a": node}, {"y": "a.y"})), -1)


async def test_an_output_that_a_node_forgot() -> None:
    node = {"call": NODES + "refuse_negative", "inputs": {"x": "x"}, "outputs": {"z": "FP32[-1, 2]"}}
    with pytest.raises(NodeError, match="node a did not return z"):
        await answer(executor(plan({"a": node}, {"y": "a.z"})), 1)


async def test_a_failing_branch_cancels_the_others() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(rows_: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async def failing(rows_: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
        await started.wait()
        raise NodeError("b is out of order")

    nodes = {
        "a": add("x", isolate=True),
        "b": add("x", isolate=True),
        "m": {"ensemble": "max", "inputs": {"members": ["a.y", "b.y"]}},
    }
    runner = executor(plan(nodes, {"y": "m.max"}), {"a": endless, "b": failing})
    with pytest.raises(NodeError, match="b is out of order"):
        await answer(runner, 1)
    assert cancelled.is_set()


async def test_a_custom_ensemble() -> None:
    nodes = {
        "a": add("x", 1),
        "b": add("x", 5),
        "m": {"ensemble": NODES + "spread", "inputs": {"members": ["a.y", "b.y"]}},
    }
    nodes["m"]["outputs"] = {"spread": "FP32[-1, 2]"}
    assert (await answer(executor(plan(nodes, {"y": "m.spread"})), 7)).tolist() == [4]


async def test_three_steps_of_a_cascade_with_rows_at_the_first_only() -> None:
    nodes, _ = cascade()
    nodes["first"] = {
        "switch": "confidence",
        "with": {"threshold": 5},
        "inputs": {"scores": "x"},
        "cases": {"confident": {"y": "x"}, "rest": {"y": "pick.y"}},
    }
    assert (await answer(executor(plan(nodes, {"y": "first.y"})), 7, 8)).tolist() == [7, 8]


@pytest.mark.parametrize("function", ["leave", "leave_async"])
async def test_a_node_that_exits_takes_nobody_along(function: str) -> None:
    node = {"call": NODES + function, "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}}
    runner = executor(plan({"a": node}, {"y": "a.y"}))
    with pytest.raises(NodeError, match="SystemExit"):
        await runner.run({"x": rows(-1)}, 1)
    assert (await answer(runner, 1)).tolist() == [1]


async def test_a_node_that_returns_another_datatype_than_it_declares() -> None:
    node = {"call": NODES + "refuse_negative", "inputs": {"x": "x"}, "outputs": {"y": "FP64[-1, 2]"}}
    with pytest.raises(NodeError, match="node a returned y as float32, but declares float64"):
        await answer(executor(plan({"a": node}, {"y": "a.y"})), 1)


async def test_an_input_may_be_called_members() -> None:
    node = {"call": NODES + "identity", "inputs": {"members": "x"}, "outputs": {"members": "FP32[-1, 2]"}}
    assert (await answer(executor(plan({"a": node}, {"y": "a.members"})), 3)).tolist() == [3]


async def slow_stage(rows_: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
    """Stands for a stage that takes long; notes what time it is given."""
    support.CALLS.append(("left_s", round(terms.left_s * 100), ""))
    await asyncio.sleep(0.02)
    return {"y": rows_["x"]}, BatchTiming(0, 0, {}, count)


async def failing_stage(rows_: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
    support.CALLS.append(("stage", count, ""))
    raise Unavailable("no replica answered")


def chain(**fields: Any) -> dict[str, Any]:
    """Three placed nodes, one after another."""
    return {"a": add("x", isolate=True), "b": add("a.y", isolate=True, **fields), "c": add("b.y", isolate=True)}


async def test_one_deadline_holds_through_all_steps() -> None:
    runner = executor(plan(chain(), {"y": "c.y"}), dict.fromkeys("abc", slow_stage))
    with pytest.raises(DeadlineExceeded):
        await runner.run({"x": rows(1)}, 1, Terms.within(0.05))
    left = [rows_ for _, rows_, _ in support.CALLS]
    assert left == sorted(left, reverse=True)
    await asyncio.sleep(0.03)
    assert len(support.CALLS) == len(left) <= 3, "no step begins after the deadline"


async def test_blocking_code_goes_on_but_no_further_node_runs() -> None:
    nodes = {"a": {**add("x"), "with": {"name": "a", "sleep_s": 0.6}}, "b": add("a.y", isolate=True)}
    runner = executor(plan(nodes, {"y": "b.y"}), {"b": plus_hundred})
    with pytest.raises(DeadlineExceeded):
        await runner.run({"x": rows(1)}, 1, Terms.within(0.3))
    await asyncio.to_thread(runner.close)  # waits for the call
    assert [name for name, *_ in support.CALLS] == ["a"]


async def test_a_deadline_that_has_passed_runs_nothing() -> None:
    runner = executor(plan({"a": add("x")}, {"y": "a.y"}))
    with pytest.raises(DeadlineExceeded):
        await runner.run({"x": rows(1)}, 1, Terms.within(-1))
    runner.close()
    assert support.CALLS == []


async def test_a_nodes_timeout_is_not_the_requests_deadline() -> None:
    runner = executor(plan(chain(timeout_s=0.005), {"y": "c.y"}), dict.fromkeys("abc", slow_stage))
    with pytest.raises(NodeTimeout, match="node b had no answer within its timeout_s"):
        await runner.run({"x": rows(1)}, 1, Terms.within(5))


async def test_a_node_stands_in_for_another() -> None:
    stand_in = {"call": NODES + "Add", "with": {"amount": 7}}
    runner = executor(
        plan(chain(fallback=stand_in), {"y": "c.y"}), {"a": plus_hundred, "b": failing_stage, "c": plus_hundred}
    )
    assert (await answer(runner, 1)).tolist() == [1 + 100 + 7 + 100]


async def test_a_constant_stands_in_for_a_node() -> None:
    node = {"call": NODES + "broken", "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}}
    runner = executor(plan({"a": {**node, "fallback": {"constant": {"y": [4, 5]}}}}, {"y": "a.y"}))
    outputs, trace = await runner.run({"x": rows(1, 2)}, 2)
    runner.close()
    assert outputs["y"].tolist() == [[4, 5], [4, 5]]
    assert outputs["y"].dtype == np.float32
    assert trace.events == [("a", "fallback", 1)]


async def test_what_policies_did_is_told_of_a_request_that_fails_too() -> None:
    node = {"call": NODES + "broken", "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}, "retries": 2}
    runner = executor(plan({"a": node}, {"y": "a.y"}))
    told: list[Event] = []
    runner.on_events = told.extend
    with pytest.raises(NodeError):
        await runner.run({"x": rows(1)}, 1)
    runner.close()
    assert told == [("a", "retry", 1)] * 2


async def test_a_node_with_policies_in_a_switchs_case_gets_that_cases_rows() -> None:
    nodes, outputs = cascade(retries=1, timeout_s=5, cache={}, isolate=True)
    runner = executor(plan(nodes, outputs), {"big": plus_hundred})
    for _ in range(2):
        result, trace = await runner.run({"x": rows(1, 20, 1, 2)}, 4)
        assert result["y"][:, 0].tolist() == [101, 21, 101, 102]
    runner.close()
    assert trace.events == [("big", "cache hit", 3)]
    assert [count for name, count, _ in support.CALLS if name == "stage"] == [2]


@pytest.mark.parametrize("policies", [{}, {"retries": 1}], ids=["fused", "alone"])
async def test_bad_rows_of_a_switchs_case_are_named_as_the_request_counts_them(policies: dict[str, Any]) -> None:
    nodes, outputs = cascade()
    nodes["big"] = {"call": "tests.support.simulated:poisonable", "inputs": {"x": "x"}, **policies}
    runner = executor(plan(nodes, outputs))
    with pytest.raises(RowErrors) as error:
        await answer(runner, 20, 1, 30, NAMES_ROWS, 2)
    assert error.value.reasons == {3: "named"}


async def test_bad_rows_of_a_step_that_begins_in_a_switchs_case_are_named_as_the_request_counts_them() -> None:
    nodes, outputs = cascade()
    nodes["hop"] = add("x", isolate=True)
    nodes["big"] = {"call": "tests.support.simulated:poisonable", "inputs": {"x": "hop.y"}}

    async def same(rows: Rows, count: int, terms: Terms) -> Any:
        return {"y": rows["x"]}, BatchTiming(0, 0, {}, count)

    runner = executor(plan(nodes, outputs), {"hop": same})
    with pytest.raises(RowErrors) as error:
        await answer(runner, 20, 1, 30, NAMES_ROWS, 2)
    assert error.value.reasons == {3: "named"}


async def test_bad_rows_of_a_switchs_case_fail_only_their_request() -> None:
    nodes, outputs = cascade()
    nodes["small"]["with"] = {"amount": 1, "sleep_s": 0.03}
    nodes["big"] = {"call": "tests.support.simulated:poisonable", "inputs": {"x": "x"}}
    runner = executor(plan(nodes, outputs))
    requests = [(1,), (20, 30), (40, 2, NAMES_ROWS), (3, 50)]  # the first holds the model, the others share a call
    answers = await asyncio.gather(*(runner.run({"x": rows(*r)}, len(r)) for r in requests), return_exceptions=True)
    runner.close()
    got = [a if isinstance(a, BaseException) else a[0]["y"][:, 0].tolist() for a in answers]
    assert isinstance(got[2], RowErrors)
    assert got[2].reasons == {2: "named"}
    assert got[:2] + got[3:] == [[2], [21, 31], [6, 51]]


@pytest.mark.parametrize("function", ["blames_others", "blames_others_async"])
async def test_bad_rows_that_the_call_did_not_have(function: str) -> None:
    node = {"call": f"tests.support.simulated:{function}", "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}}
    with pytest.raises(NodeError, match=r"node a raised RowErrors for rows \[7\], but the call had 1 rows"):
        await answer(executor(plan({"a": node}, {"y": "a.y"})), 1)


async def test_a_coroutine_that_cancels_itself_fails() -> None:
    node = {"call": "tests.support.simulated:cancels_itself", "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}}
    with pytest.raises(NodeError, match="node a failed: it cancelled itself"):
        await answer(executor(plan({"a": node, "b": add("a.y")}, {"y": "b.y"})), 1)


async def test_requests_never_share_a_call_of_a_node_that_is_not_idempotent() -> None:
    support.CALLS.clear()
    once = add("x", idempotent=False) | {"with": {"name": "once", "sleep_s": 0.01}}
    graph = executor(plan({"once": once, "after": add("once.y")}, {"y": "after.y"}))
    answers = await asyncio.gather(*(graph.run({"x": np.full((1, 2), value, np.float32)}, 1) for value in range(4)))
    graph.close()
    assert [outputs["y"][0, 0] for outputs, _ in answers] == [2, 3, 4, 5]
    assert [rows for name, rows, _ in support.CALLS if name == "once"] == [1, 1, 1, 1]
