"""Build checked graphs and executors in tests, without files."""

from pathlib import Path
from typing import Any

from configs.graph import GraphConfig
from graphs.check import check_graph
from graphs.executor import Executor, PlacedCall
from graphs.instances import Instance
from graphs.load import load_all
from graphs.plan import Plan, compile_plan
from servables.base import LoadOptions

NODES = "tests.support.nodes:"


def config(nodes: dict[str, Any], outputs: dict[str, str], **fields: Any) -> GraphConfig:
    """A graph with one input `x` FP32 [-1, 2]."""
    inputs = fields.pop("inputs", {"x": "FP32[-1, 2]"})
    return GraphConfig.model_validate({"name": "t", "inputs": inputs, "nodes": nodes, "outputs": outputs, **fields})


def plan(nodes: dict[str, Any], outputs: dict[str, str], **fields: Any) -> Plan:
    """The compiled plan of such a graph."""
    return compile_plan(check_graph(config(nodes, outputs, **fields), Path.cwd()).flat)


def load_inline(plan: Plan, root: Path, options: LoadOptions) -> dict[str, Instance]:
    """Load and warm up every node that is called here: not the placed ones, but what stands in for them.

    Raises what the first failing node raises.
    """
    placed = set(plan.placed)
    return load_all([node for node in plan.graph.all_nodes() if node.name not in placed], root, options)


def executor(plan_: Plan, placed: dict[str, PlacedCall] | None = None, threads: int = 1) -> Executor:
    """An executor with its inline nodes loaded."""
    return Executor(plan_, load_inline(plan_, Path.cwd(), LoadOptions()), placed or {}, threads=threads)


def add(source: str, amount: float = 1.0, **fields: Any) -> dict[str, Any]:
    """A node that adds a number."""
    return {"call": NODES + "Add", "with": {"amount": amount}, "inputs": {"x": source}, **fields}


def cascade(**big: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """`small` answers rows whose largest value is at least 10; `big` (+100) the others."""
    nodes = {
        "small": add("x", 1.0),
        "big": add("x", 100.0, **big),
        "pick": {
            "switch": "confidence",
            "with": {"threshold": 10},
            "inputs": {"scores": "small.y"},
            "cases": {"confident": {"y": "small.y"}, "rest": {"y": "big.y"}},
        },
    }
    return nodes, {"y": "pick.y"}
