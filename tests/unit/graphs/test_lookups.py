"""`lookup` nodes: a table answers, live nodes what it does not have, for those rows only."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from configs.errors import ConfigError
from configs.graph import RetrieveNode, fallback_node, node_class
from configs.tensors import Rows
from graphs.check import check_graph
from graphs.executor import Executor
from graphs.load import signature_of
from graphs.picture import svg
from graphs.plan import Plan, compile_plan
from graphs.trial import try_file
from servables.base import LoadOptions
from servables.lookup_file import write_lookup
from tests.support.graphs import add, config, load_inline
from tests.support.nodes import CALLS

INPUTS = {"x": "FP32[-1, 2]", "user": "BYTES[-1]"}
LIVE = add("x", 100.0)


def publish(root: Path, name: str = "table", y: Any = ((1, 2), (3, 4)), number: int = 1) -> None:
    """A table of two users, `ann` and `ben`."""
    folder = root / "lookups" / name / str(number)
    folder.mkdir(parents=True)
    values = pa.array(y, pa.list_(pa.float32()))
    write_lookup(folder, pa.table({"user": ["ann", "ben"], "y": values, "size": [5, 6]}), "user")


def lookup(**fields: Any) -> dict[str, Any]:
    return {"lookup": "lookups/table", "inputs": {"key": "user"}, **fields}


def loaded(root: Path, nodes: dict[str, Any], outputs: dict[str, str]) -> tuple[Plan, Executor]:
    plan = compile_plan(check_graph(config(nodes, outputs, inputs=INPUTS), root).flat)
    instances = load_inline(plan, root, LoadOptions())
    signature_of(plan, {name: instance.signature for name, instance in instances.items()})
    return plan, Executor(plan, instances, {})


async def answer(root: Path, nodes: dict[str, Any], outputs: dict[str, str], *users: str) -> Rows:
    _, executor = loaded(root, nodes, outputs)
    x = np.arange(2 * len(users), dtype=np.float32).reshape(-1, 2)
    CALLS.clear()
    try:
        found, _ = await executor.run({"x": x, "user": np.array([u.encode() for u in users], object)}, len(users))
    finally:
        executor.close()
    return found


async def test_a_table_answers(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, number=2, y=[[7, 8], [9, 9]])
    outputs = {"y": "a.y", "size": "a.size", "found": "a.found", "sum": "s.y"}
    nodes = {"a": lookup(), "s": add("x"), "plus": add("a.y")}
    found = await answer(tmp_path, nodes, {**outputs, "plus": "plus.y"}, "ben", "eve", "ann")
    assert found["y"].tolist() == [[9, 9], [0, 0], [7, 8]]
    assert found["plus"].tolist() == [[10, 10], [1, 1], [8, 9]]
    assert found["size"].tolist() == [6, 0, 5]
    assert found["found"].tolist() == [True, False, True]


@pytest.mark.parametrize("guarded", [{}, {"timeout_s": 5}], ids=["fused", "apart"])
async def test_live_nodes_answer_what_it_does_not_have(tmp_path: Path, guarded: dict) -> None:
    publish(tmp_path)
    nodes = {"a": lookup(otherwise={"y": "live.y"}), "live": {**LIVE, **guarded}, "plus": add("a.y", 0.5)}
    outputs = {"y": "a.y", "size": "a.size", "found": "a.found", "plus": "plus.y"}
    found = await answer(tmp_path, nodes, outputs, "ben", "eve", "ann", "bob")
    assert found["y"].tolist() == [[3, 4], [102, 103], [1, 2], [106, 107]]
    assert found["plus"].tolist() == [[3.5, 4.5], [102.5, 103.5], [1.5, 2.5], [106.5, 107.5]]
    assert found["size"].tolist() == [6, 0, 5, 0]
    assert found["found"].tolist() == [True, False, True, False]
    assert [rows for name, rows, _ in CALLS] == [2, 4]
    found = await answer(tmp_path, nodes, outputs, "ben", "ann")
    assert found["y"].tolist() == [[3, 4], [1, 2]]
    assert [rows for name, rows, _ in CALLS] == [2], "no row goes to the live node"


async def test_a_second_table_stands_between(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, "other", y=[[5, 5], [6, 6]])
    other = {"lookup": "lookups/other", "inputs": {"key": "second.user"}, "otherwise": {"y": "live.y"}}
    second = {"call": "tests.support.nodes:identity", "inputs": {"user": "user"}, "outputs": {"user": "BYTES[-1]"}}
    nodes = {"a": lookup(otherwise={"y": "b.y"}), "second": second, "b": other, "live": LIVE}
    found = await answer(tmp_path, nodes, {"y": "a.y"}, "eve", "ben")
    assert found["y"].tolist() == [[100, 101], [3, 4]]


async def test_in_a_graph_in_a_graph(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "inner.yaml").write_text(
        "name: inner\ninputs: {user: 'BYTES[-1]', x: 'FP32[-1, 2]'}\nnodes:\n"
        "  a: {lookup: lookups/table, inputs: {key: user}, otherwise: {y: live.y}}\n"
        "  live: {call: 'tests.support.nodes:Add', inputs: {x: x}}\noutputs: {y: a.y}\n"
    )
    nodes = {"in": {"graph": "inner.yaml", "inputs": {"user": "user", "x": "x"}}, "plus": add("in.y")}
    plan, executor = loaded(tmp_path, nodes, {"y": "plus.y"})
    executor.close()
    assert set(plan.graph.nodes) == {"in/a", "in/a~", "in/live", "plus"}
    found = await answer(tmp_path, nodes, {"y": "plus.y"}, "eve", "ben")
    assert found["y"].tolist() == [[2, 3], [4, 5]]


async def test_a_live_node_may_give_any_kind_of_text(tmp_path: Path) -> None:
    folder = tmp_path / "lookups" / "table" / "1"
    folder.mkdir(parents=True)
    write_lookup(folder, pa.table({"user": ["ann"], "name": ["Änne"]}), "user")
    live = {"call": f"{__name__}:upper", "inputs": {"user": "user"}, "outputs": {"name": "BYTES[-1]"}}
    nodes = {"a": lookup(otherwise={"name": "live.name"}), "live": live, "plus": add("x")}
    found = await answer(tmp_path, nodes, {"name": "a.name", "y": "plus.y"}, "ann", "bö", "ann")
    assert found["name"].tolist() == ["Änne".encode(), "BÖ".encode(), "Änne".encode()]


def upper(user: np.ndarray) -> Rows:
    return {"name": np.array([each.decode().upper() for each in user])}


def test_it_is_drawn(tmp_path: Path) -> None:
    publish(tmp_path)
    plan, executor = loaded(tmp_path, {"a": lookup(otherwise={"y": "live.y"}), "live": LIVE}, {"y": "a.y"})
    executor.close()
    assert ">table<" in svg(plan)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lookup: lookups/none, inputs: {key: user}", "nodes.a.lookup: .*none"),
        ("lookup: lookups/table, inputs: {user: user}", "one input, `key`, but this has user"),
        ("lookup: lookups/table, inputs: {key: user}, gpus: 1", "remove gpus: a lookup computes nothing"),
        ("lookup: lookups/table, model: m, inputs: {key: user}", "exactly one of the keys"),
        ("lookup: lookups/table, inputs: {key: user}, otherwise: {found: live.y}", "`otherwise` names `found`"),
        (
            "lookup: lookups/table, inputs: {key: user}, otherwise: {y: life.y}",
            "a.otherwise.y: there is no node `life`",
        ),
        ("lookup: lookups/table, inputs: {key: x}", "a.inputs.key: takes BYTES.-1., but x is FP32"),
        (
            "lookup: lookups/table, inputs: {key: user}, otherwise: {z: live.y}",
            "depends on `otherwise` of node a; read",
        ),
        ("lookup: lookups/slim, inputs: {key: user}, otherwise: {y: live.y}", "a.otherwise.y: a has no output y"),
        ("lookup: lookups/wide, inputs: {key: user}, otherwise: {y: live.y}", r"a.otherwise.y: is FP32\[-1, 2\], but"),
        ("lookup: lookups/table, inputs: {key: user}, otherwise: {y: loop.y}", "cycle: "),
        ("retrieve: indexes/none, inputs: {vector: x}, gpus: 1", "remove gpus: an index is searched on the CPU"),
        ("retrieve: indexes/none, inputs: {key: user}", "one input, `vector`, but this has key"),
        ("lookup: lookups/table, inputs: {key: user}, otherwise: {a b: live.y}", "a.otherwise.a b: "),
        ("lookup: lookups/table, inputs: {key: user}, otherwise: {a-b: live.y}", "`otherwise` of node a"),
        ("retrieve: indexes/none, inputs: {vector: x}", "nodes.a.retrieve: .*none"),
        ("retrieve: indexes/none, inputs: {vector: x}, fallback: {model: indexes/no}", "nodes.a.fallback.model: .*no"),
        ("retrieve: indexes/none, inputs: {vector: x}, k: 0", "at least 1"),
    ],
)
def test_what_does_not_fit_is_found_by_the_check(tmp_path: Path, text: str, words: str) -> None:
    publish(tmp_path)
    publish(tmp_path, "wide", y=[[1, 2, 3], [4, 5, 6]])
    slim = tmp_path / "lookups" / "slim" / "1"
    slim.mkdir(parents=True)
    write_lookup(slim, pa.table({"user": ["ann"], "size": [1]}), "user")
    (tmp_path / "g.yaml").write_text(
        "name: g\ninputs: {x: 'FP32[-1, 2]', user: 'BYTES[-1]'}\nnodes:\n"
        f"  a: {{{text}}}\n"
        "  live: {call: 'tests.support.nodes:Add', inputs: {x: x}}\n"
        f"  loop: {{call: 'tests.support.nodes:identity', inputs: {{y: {'a.y' if 'loop' in text else 'x'}}},\n"
        "    outputs: {y: 'FP32[-1, 2]'}}\n"
        "  who: {call: 'tests.support.nodes:identity', inputs: {user: user}, outputs: {user: 'BYTES[-1]'}}\n"
        "outputs: {y: a.y, who: who.user, live: live.y, loop: loop.y}\n"
    )
    with pytest.raises(ConfigError, match=words):
        try_file(tmp_path / "g.yaml", tmp_path)


def test_no_profile_gives_it_a_gpu() -> None:
    with pytest.raises(ValidationError, match="profile gpu: node a runs on the CPU; remove gpus"):
        config({"a": lookup()}, {"y": "a.y"}, inputs=INPUTS, profiles={"gpu": {"a": {"gpus": 1}}})


def test_what_stands_in_for_an_index_gives_as_many() -> None:
    node = node_class({"retrieve": ""}).model_validate(
        {"retrieve": "indexes/a", "inputs": {"vector": "x"}, "k": 3, "fallback": {"model": "indexes/b", "version": 2}}
    )
    stand_in = fallback_node(node)
    assert isinstance(stand_in, RetrieveNode)
    assert (stand_in.model, stand_in.version, stand_in.k, stand_in.inputs) == ("indexes/b", 2, 3, {"vector": "x"})
