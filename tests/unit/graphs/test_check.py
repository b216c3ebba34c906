"""What is wrong with a graph is found before anything starts, all at once, with the line."""

import re
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError
from graphs.check import check_file, check_graph
from tests.support.graphs import NODES, add, config


def problems(nodes: dict[str, Any], outputs: dict[str, str], **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        check_graph(config(nodes, outputs, **fields), Path.cwd())
    return error.value.message


@pytest.mark.parametrize(
    ("nodes", "outputs", "expected"),
    [
        ({"a": add("scal.y")}, {"y": "a.y"}, ["nodes.a.inputs.x: there is no node `scal`"]),
        ({"a": add("X")}, {"y": "a.y"}, ["there is no graph input `X`"]),
        ({"a": add("x"), "b": add("a")}, {"y": "b.y"}, ["name one of the outputs of node a: `a.<output>`"]),
        ({"a": add("x")}, {"y": "aa.y"}, ["outputs.y: there is no node `aa`", "did you mean `a`?"]),
        ({"a": add("x")}, {"y": "a.z"}, ["outputs.y: a has no output z; it gives y"]),
        ({"a": add("x"), "b": add("x")}, {"y": "a.y"}, ["no output of the graph depends on node b"]),
        ({"x": add("x")}, {"y": "x.y"}, ["x is also a graph input"]),
        ({"a": {**add("x"), "call": NODES + "Nope"}}, {"y": "a.y"}, ["has no Nope", "correct the import path"]),
        ({"a": {**add("x"), "call": "no_such:thing"}}, {"y": "a.y"}, ["cannot import no_such"]),
        ({"a": {**add("x"), "with": {"amont": 1}}}, {"y": "a.y"}, ["unknown argument `amont`", "takes amount, name"]),
        ({"a": {**add("x"), "inputs": {"z": "x"}}}, {"y": "a.y"}, ["unknown argument `z`", "missing argument `x`"]),
        ({"m": {"model": "models/none", "inputs": {"x": "x"}}}, {"y": "m.y"}, ["nodes.m.model", "models/none"]),
        (
            {"c": {"call": NODES + "double", "inputs": {"x": "x"}, "gpus": 1}},
            {"y": "c.y"},
            ["is a coroutine", "remove cpus, gpus"],
        ),
        (
            {"c": {"call": NODES + "double", "inputs": {"x": "x"}, "cpus": 4}},
            {"y": "c.y"},
            ["is a coroutine", "remove cpus"],
        ),
        (
            {"h": {"call": NODES + "Hooked", "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}}},
            {"y": "h.y"},
            ["Hooked.warmup is a coroutine; make it a plain method"],
        ),
        (
            {"a": {**add("x"), "outputs": {"y": "FP64[-1, 2]"}}},
            {"y": "a.y"},
            ["nodes.a.outputs.y: says FP64[-1, 2], but the node gives FP32[-1, 2]"],
        ),
    ],
)
def test_problems(nodes: dict[str, Any], outputs: dict[str, str], expected: list[str]) -> None:
    message = problems(nodes, outputs)
    assert all(text in message for text in expected), message


def test_types_that_cannot_fit() -> None:
    message = problems({"a": add("x")}, {"y": "a.y"}, inputs={"x": "FP32[-1, 3]"})
    assert "nodes.a.inputs.x: takes FP32[-1, 2], but x is FP32[-1, 3]" in message


def test_ensemble_members_that_cannot_be_combined() -> None:
    nodes = {"a": add("x"), "m": {"ensemble": "mean", "inputs": {"members": ["a.y", "w"]}}}
    message = problems(nodes, {"y": "m.mean"}, inputs={"x": "FP32[-1, 2]", "w": "FP32[-1, 3]"})
    assert "nodes.m.inputs.members" in message


def test_an_input_that_nothing_reads() -> None:
    message = problems({"a": add("x")}, {"y": "a.y"}, inputs={"x": "FP32[-1, 2]", "w": "INT64[-1]"})
    assert "inputs.w: no node reads the input w" in message


def test_all_problems_of_a_file_at_once_with_lines(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(
        "name: bad\n"
        "inputs: {x: 'FP32[-1, 2]'}\n"
        "nodes:\n"
        f"  a: {{call: '{NODES}Add', inputs: {{x: nowhere.y}}}}\n"
        f"  b: {{call: '{NODES}Nope', inputs: {{x: x}}}}\n"
        "outputs: {y: a.y, z: b.y}\n"
    )
    with pytest.raises(ConfigError) as error:
        check_file(file, tmp_path)
    first, second = error.value.message.splitlines()
    assert first.startswith(f"{file}:4: nodes.a.inputs.x: there is no node `nowhere`")
    assert second.startswith(f"{file}:5: nodes.b.call: module tests.support.nodes has no Nope")


INNER = f"name: inner\ninputs: {{x: 'FP32[-1, 2]'}}\nnodes:\n  a: {{call: '{NODES}Add', inputs: {{x: x}}}}\n"


def test_a_sub_graph_becomes_nodes_of_the_outer_one(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(INNER + "outputs: {y: a.y}\n")
    nodes = {"sub": {"graph": "inner.yaml", "inputs": {"x": "pre.y"}}, "pre": add("x"), "post": add("sub.y")}
    flat = check_graph(config(nodes, {"y": "post.y"}), tmp_path).flat
    assert set(flat.nodes) == {"sub/a", "pre", "post"}
    assert str(flat.nodes["sub/a"].inputs["x"][0]) == "pre.y"
    assert str(flat.nodes["post"].inputs["x"][0]) == "sub/a.y"


def test_a_sub_graph_that_contains_itself(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(
        "name: inner\ninputs: {x: 'FP32[-1, 2]'}\nnodes:\n  s: {graph: inner.yaml, inputs: {x: x}}\noutputs: {y: s.y}\n"
    )
    with pytest.raises(ConfigError, match=r"inner.yaml contains itself"):
        check_graph(config({"sub": {"graph": "inner.yaml", "inputs": {"x": "x"}}}, {"y": "sub.y"}), tmp_path)


def test_a_sub_graph_with_other_inputs(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(INNER + "outputs: {y: a.y}\n")
    with pytest.raises(ConfigError, match=r"inputs \['z'\] but graph inner.yaml has \['x'\]"):
        check_graph(config({"sub": {"graph": "inner.yaml", "inputs": {"z": "x"}}}, {"y": "sub.y"}), tmp_path)


def test_a_sub_graph_output_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(INNER + "outputs: {y: a.y}\n")
    with pytest.raises(ConfigError, match=r"there is no"):
        check_graph(config({"sub": {"graph": "inner.yaml", "inputs": {"x": "x"}}}, {"y": "sub.q"}), tmp_path)


def test_a_sub_graph_brings_its_profile_and_batch_and_leaves_out_what_nobody_reads(tmp_path: Path) -> None:
    unread = f"  otherwise: {{call: '{NODES}Add', inputs: {{x: x}}}}\n"  # also a key of `lookup` nodes
    ending = "outputs: {y: a.y, z: otherwise.y}\nbatch: {max_rows: 7}\nprofiles: {cpu: {a: {gpus: 0}}}\n"
    (tmp_path / "inner.yaml").write_text(INNER.replace("inputs: {x: x}}", "inputs: {x: x}, gpus: 1}") + unread + ending)
    outer = config({"sub": {"graph": "inner.yaml", "inputs": {"x": "x"}}}, {"y": "sub.y"})
    flat = check_graph(outer, tmp_path, profile="cpu").flat
    assert set(flat.nodes) == {"sub/a"}
    inner = flat.nodes["sub/a"].config
    assert (inner.gpus, inner.batch and inner.batch.max_rows) == (0, 7)


def test_a_sub_graph_that_is_fed_another_shape(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(INNER.replace("[-1, 2]", "[-1, -1, 2]") + "outputs: {y: a.y}\n")
    with pytest.raises(ConfigError, match=r"sub.inputs.x: the other graph takes FP32\[-1, -1, 2\], but x is FP32"):
        check_graph(config({"sub": {"graph": "inner.yaml", "inputs": {"x": "x"}}}, {"y": "sub.y"}), tmp_path)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"graph": "inner.yaml", "inputs": {"x": "x"}, "gpus": 1}, "remove gpus: say it at the nodes"),
        (
            {"switch": NODES + "positive", "inputs": {"x": "x"}, "cases": {"true": {"y": "x"}}, "isolate": True},
            "remove isolate: a switch runs in the gateway",
        ),
    ],
)
def test_placement_where_there_is_none(node: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config({"n": node}, {"y": "n.y"})


def test_a_profile_that_names_no_node() -> None:
    with pytest.raises(ValueError, match="profile cpu: there is no node nn; there are a"):
        config({"a": add("x")}, {"y": "a.y"}, profiles={"cpu": {"nn": {"gpus": 0}}})


GUARDED = """\
name: t
inputs: {{x: "FP32[-1, 2]"}}
nodes:
  a:
    call: tests.support.nodes:Add
    inputs: {{x: x}}
    {policy}
outputs: {{y: a.y}}
"""


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("hedge: true", "`hedge` asks a second replica: give the node `replicas: {max: 2}` or more"),
        (
            "fallback: {constant: {y: [0, 0]}, call: tests.support.nodes:Add}",
            "give exactly one of constant, call and model; this has constant and call",
        ),
        ("fallback: {}", "give exactly one of constant, call and model; this has none"),
        ("fallback: {call: tests.support.nodes:double}", "is a coroutine; what stands in for a node may not be one"),
        ("fallback: {call: tests.support.nodes:Nope}", "has no Nope"),
        ("fallback: {model: models/none}", "models/none"),
        ("fallback: {constant: {y: [0, 0, 0]}}", "fallback.constant.y is no FP32[-1, 2]: its shape is [3] a row"),
        ("fallback: {constant: {z: [0, 0]}}", "fallback.constant has z, but the node gives y"),
        ("timeout_s: 0", "timeout_s"),
        ("retries: 11", "retries"),
        ("cache: {ttl: 3}", "ttl"),
    ],
)
def test_policies_that_cannot_work_are_found_with_their_line(tmp_path: Path, policy: str, expected: str) -> None:
    (tmp_path / "t.yaml").write_text(GUARDED.format(policy=policy))
    with pytest.raises(ConfigError) as error:
        check_file(tmp_path / "t.yaml", tmp_path)
    assert expected in error.value.message
    assert re.search(r"t\.yaml:[4-7]\b", error.value.message), error.value.message
