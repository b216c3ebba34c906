"""A plan as a chain: whatever is placed, the answers are those of a row-by-row reference, bad rows aside."""

import asyncio
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import ConfigError, RowErrors
from configs.graph import GraphConfig
from configs.node_options import Replicas
from graphs.check import check_graph
from graphs.flat import Edge
from graphs.frame import Frame
from graphs.plan import Plan, StepKind, compile_plan
from jobs.chain import Link, chain, for_a_job
from jobs.part import Part
from jobs.scoring import cut
from jobs.working import Working
from servables.lookup_file import write_lookup
from servables.push import push_model
from tests.support.graphs import NODES, add, config, executor
from tests.support.random_graphs import expected, random_graph

ONE = Replicas(min=1, max=1)  # type: ignore[call-arg]
BAD = 500
"""Values from this on are refused by `picky`."""


def picky(x: np.ndarray) -> dict[str, np.ndarray]:
    """Names rows that it does not take; some, it refuses with the whole call."""
    if (x == BAD).any():
        raise ValueError("exactly 500")
    if (x > BAD).any():
        raise RowErrors({int(row): "above 500" for row in np.flatnonzero(x > BAD)})
    return {"o": x}


def compiled(graph: dict[str, Any], rows: int = 64) -> Plan:
    flat = check_graph(GraphConfig.model_validate(graph), Path.cwd()).flat
    return compile_plan(for_a_job(flat, dict.fromkeys(flat.nodes, rows)))


def part(plan: Plan, inputs: dict[str, np.ndarray], rows: int) -> Part:
    count = len(next(iter(inputs.values())))
    frame = Frame(count, (), plan.cases, plan.scope_of)
    for name, value in inputs.items():
        frame.put(Edge("", name), value)
    return Part("0-0", "a.csv", 0, count, True, pa.table({}), cut(frame, np.arange(count), rows))


def through(links: list[Link], part: Part) -> Part:
    for link in links:
        working = Working(link, Path.cwd(), {})
        part = working(Part.unpacked(part.packed()))
        working.close()
    return part


def outputs(plan: Plan, part: Part) -> dict[str, list[int]]:
    return {
        name: [int(value) for piece in part.pieces for value in piece.frame.get(edge, ())]
        for name, edge in plan.graph.outputs.items()
    }


@pytest.mark.parametrize("block", range(4))
def test_random_graphs(block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        graph = random_graph(random.Random(seed))
        plan = compiled(graph)
        numbers = np.random.default_rng(seed)
        rows = {name: numbers.integers(0, 1000, 23) for name in graph["inputs"]}
        links = chain(plan, 1.0, ONE)
        done = through(links, part(plan, rows, 8))
        assert done.bad == []
        for name, values in expected(graph, rows).items():
            assert outputs(plan, done)[name] == values.tolist(), f"seed {seed}, output {name}"
        placed = [step for step in plan.steps if step.kind is StepKind.PLACED]
        assert len(links) <= 2 * len(placed) + 1


@pytest.mark.parametrize("placed", [{}, {"isolate": True}], ids=["inline", "placed"])
def test_bad_rows_are_named_and_the_others_answered(placed: dict[str, Any]) -> None:
    nodes: dict[str, Any] = {
        "first": {"call": "tests.support.random_graphs:mix", "with": {"salt": 0}, "inputs": {"a": "x"}},
        "picky": {"call": f"{__name__}:picky", "inputs": {"x": "x"}, "outputs": {"o": "INT64[-1]"}, **placed},
    }
    graph = {
        "name": "g",
        "inputs": {"x": "INT64[-1]"},
        "nodes": nodes,
        "outputs": {"y": "picky.o", "z": "first.o"},
    }
    plan = compiled(graph)
    x = np.array([1, 500, 3, 700, 5, 6, 501, 8, 9, 500])
    done = through(chain(plan, 1.0, ONE), part(plan, {"x": x}, 4))
    assert outputs(plan, done)["y"] == [1, 3, 5, 6, 8, 9]
    assert [int(row) for piece in done.pieces for row in piece.places] == [0, 2, 4, 5, 7, 8]
    named = {each.row: each.reason for each in done.bad}
    assert named == {
        1: "node picky failed: ValueError: exactly 500",
        3: "above 500",
        6: "above 500",
        9: "node picky failed: ValueError: exactly 500",
    }


def test_a_part_without_good_rows_goes_on_empty() -> None:
    graph = {
        "name": "g",
        "inputs": {"x": "INT64[-1]"},
        "nodes": {
            "picky": {"call": f"{__name__}:picky", "inputs": {"x": "x"}, "outputs": {"o": "INT64[-1]"}},
            "after": {
                "call": "tests.support.random_graphs:mix",
                "with": {"salt": 0},
                "inputs": {"a": "picky.o"},
                "outputs": {"o": "INT64[-1]"},
                "isolate": True,
            },
        },
        "outputs": {"y": "after.o"},
    }
    plan = compiled(graph)
    done = through(chain(plan, 1.0, ONE), part(plan, {"x": np.array([700, 800])}, 4))
    assert done.pieces == []
    assert [each.row for each in done.bad] == [0, 1]


def test_nodes_of_a_chain_run_where_they_are_placed() -> None:
    nodes = {
        "before": add("x"),
        "far": add("before.y", isolate=True, cpus=2, replicas={"min": 1, "max": 3}),
        "beside": add("x"),
        "after": add("far.y"),
        "both": {"ensemble": "mean", "inputs": {"members": ["after.y", "beside.y"]}},
    }
    plan = compile_plan(check_graph(config(nodes, {"y": "both.mean"}), Path.cwd()).flat)
    links = chain(plan, 0.5, ONE)
    assert [set(link.nodes) for link in links] == [{"before", "beside"}, {"far"}, {"after", "both"}]
    assert [(link.cpus, link.replicas.max) for link in links] == [(0.5, 1), (2, 3), (0.5, 1)]
    assert {str(edge) for edge in links[0].keeps} == {"before.y", "beside.y", "far.y", "both.mean"}


def test_what_no_job_can_do_is_refused() -> None:
    nodes = {"sum": {"call": NODES + "RunningSum", "inputs": {"x": "x"}, "sequences": {}}}
    plan = compile_plan(check_graph(config(nodes, {"y": "sum.sum"}), Path.cwd()).flat)
    with pytest.raises(ConfigError, match="node sum keeps state between requests"):
        chain(plan, 1.0, ONE)


def test_batches_are_the_jobs_unless_the_graph_says_otherwise() -> None:
    nodes = {"a": add("x", batch={"max_rows": 16}, hedge=True, replicas=2, timeout_s=1), "b": add("a.y", retries=1)}
    flat = for_a_job(check_graph(config(nodes, {"y": "b.y"}), Path.cwd()).flat, {"a": 1000, "b": 1000})
    assert {name: node.batch.max_rows for name, node in flat.nodes.items()} == {"a": 16, "b": 1000}
    assert not flat.nodes["a"].config.hedge
    assert flat.nodes["a"].config.timeout_s is None
    assert flat.nodes["b"].config.retries == 1


@pytest.mark.parametrize("placed", ["", "table", "live"])
async def test_a_job_looks_up_what_a_gateway_does(tmp_path: Path, placed: str) -> None:
    write_lookup(tmp_path, pa.table({"user": range(50), "y": [[user, -user] for user in range(50)]}), "user")
    version = push_model(tmp_path, "table", tmp_path / "lookups").version
    live = {"call": NODES + "identity", "inputs": {"y": "x"}, "outputs": {"y": "INT64[-1, 2]"}}
    table = {"lookup": str(version.path.parent), "inputs": {"key": "user"}, "otherwise": {"y": "live.y"}}
    nodes = {"table": table, "live": live}
    inputs = {"user": "INT64[-1]", "x": "INT64[-1, 2]"}
    rows = {"user": np.arange(100)[::-1], "x": np.arange(200).reshape(100, 2)}
    online, _ = await executor(compiled(_graph(nodes, inputs))).run(rows, 100)
    if placed:
        nodes[placed]["isolate"] = True
    plan = compiled(_graph(nodes, inputs))
    done = await asyncio.to_thread(lambda: through(chain(plan, 1.0, ONE), part(plan, rows, 30)))
    assert online["y"][50:].tolist() == [[user, -user] for user in range(49, -1, -1)]
    assert [row for piece in done.pieces for row in piece.frame.get(plan.graph.outputs["y"], ()).tolist()] == online[
        "y"
    ].tolist()


def _graph(nodes: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any]:
    return config(nodes, {"y": "table.y"}, inputs=inputs).model_dump(by_alias=True, exclude_unset=True)


def count(x: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of the call; some are refused one by one, some with the whole call."""
    return {"o": picky(x)["o"] * 0 + len(x)}


@pytest.mark.parametrize("placed", [{}, {"isolate": True}], ids=["inline", "placed"])
@pytest.mark.parametrize(
    ("says", "cut_at", "calls"),
    [
        (
            4,
            10,
            [4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 4, 4, 4, 4, 2, 2, *[4] * 8],
        ),  # 4 … 7 without 5; 10, 11 and 13 apart from 12
        (64, 4, [4, 4, 4, 4, 3, 3, 3, 4, 4, 4, 4, 1, 2, 2, *[4] * 12]),  # 12 … 15 halved, twice
    ],
)
def test_which_rows_share_a_call_does_not_depend_on_time(
    says: int, cut_at: int, calls: list[int], placed: dict[str, Any]
) -> None:
    node = {"call": f"{__name__}:count", "inputs": {"x": "x"}, "outputs": {"o": "INT64[-1]"}, **placed}
    plan = compiled({"name": "g", "inputs": {"x": "INT64[-1]"}, "nodes": {"n": node}, "outputs": {"y": "n.o"}}, says)
    x = np.arange(28)
    x[[5, 12]] = 700, 500
    done = through(chain(plan, 1.0, ONE), part(plan, {"x": x}, cut_at))
    assert outputs(plan, done)["y"] == calls
