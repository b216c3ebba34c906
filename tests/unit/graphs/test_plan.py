"""The compiler: what is fused, what is placed, which rows a step runs for."""

import pytest

from configs.errors import ConfigError
from graphs.plan import Plan, StepKind
from tests.support.graphs import NODES, add, cascade, plan

MEAN = {"ensemble": "mean", "inputs": {"members": ["a.y", "b.y"]}}


def steps(plan_: Plan) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    return [(step.kind.value, step.units, step.needs) for step in plan_.steps]


def test_inline_nodes_become_one_step() -> None:
    found = plan({"a": add("x"), "b": add("a.y"), "m": MEAN}, {"y": "m.mean"})
    assert steps(found) == [("fused", ("a", "b", "m"), ())]
    assert [str(edge) for edge in found.steps[0].writes] == ["m.mean"]


def test_an_inline_branch_does_not_wait_for_a_placed_one() -> None:
    nodes = {"pre": add("x"), "a": add("pre.y", isolate=True), "b": add("pre.y"), "m": MEAN, "post": add("m.mean")}
    found = plan(nodes, {"y": "post.y"})
    assert sorted(steps(found)) == sorted(
        [("fused", ("pre",), ()), ("placed", ("a",), (0,)), ("fused", ("b",), (0,)), ("fused", ("m", "post"), (1, 2))]
    )
    assert found.placed == ("a",)


@pytest.mark.parametrize(
    ("fields", "placed"),
    [({}, False), ({"cpus": 1}, False), ({"cpus": 2}, True), ({"gpus": 0.25}, True), ({"replicas": 2}, True),
     ({"isolate": True}, True)],
)  # fmt: skip
def test_what_places_a_node(fields: dict, placed: bool) -> None:
    assert bool(plan({"a": add("x", **fields)}, {"y": "a.y"}).placed) is placed


def test_coroutines_run_on_the_loop_between_fused_steps() -> None:
    nodes = {"a": add("x"), "c": {"call": NODES + "double", "inputs": {"x": "a.y"}}, "b": add("c.y")}
    assert [step.kind for step in plan(nodes, {"y": "b.y"}).steps] == [
        StepKind.FUSED, StepKind.COROUTINE, StepKind.FUSED
    ]  # fmt: skip


def test_an_inline_cascade_is_one_step() -> None:
    nodes, outputs = cascade()
    assert len(plan(nodes, outputs).steps) == 1


def test_a_placed_case_runs_for_its_rows_only_and_merges_apart() -> None:
    nodes, outputs = cascade(isolate=True)
    found = plan(nodes, outputs)
    by_unit = {step.units[0]: step for step in found.steps}
    assert by_unit["big"].scope == (("pick", "rest"),)
    assert by_unit["pick"].kind is StepKind.MERGE


def test_a_node_that_two_cases_share_runs_for_all_rows() -> None:
    nodes, outputs = cascade()
    nodes["pre"] = add("x")
    nodes["big"]["inputs"]["x"] = "pre.y"
    nodes["small"]["inputs"]["x"] = "pre.y"
    assert plan(nodes, outputs).scope_of == {"pre": (), "small": (), "big": (("pick", "rest"),), "pick": ()}


def test_a_cycle_is_spelled_out() -> None:
    with pytest.raises(ConfigError, match=r"cycle: .*a → b → a|cycle: .*b → a → b"):
        plan({"a": add("b.y"), "b": add("a.y")}, {"y": "a.y"})
