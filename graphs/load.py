"""Load the nodes of a plan that run in this process, side by side, and type the whole graph."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from configs.errors import ConfigError
from configs.tensors import Signature
from graphs.flat import FlatNode
from graphs.instances import Instance, load_instance, warm_up
from graphs.plan import Plan
from graphs.typing import graph_signature, infer
from servables.base import LoadOptions


def load_all(nodes: Sequence[FlatNode], root: Path, options: LoadOptions) -> dict[str, Instance]:
    """Load and warm up nodes. Raises what the first failing one raises."""
    with ThreadPoolExecutor(4, "millrace-load") as pool:
        instances = list(pool.map(lambda node: load_instance(node, root, options), nodes))
    for instance in instances:
        warm_up(instance)
    return {instance.name: instance for instance in instances}


def signature_of(plan: Plan, signatures: Mapping[str, Signature]) -> Signature:
    """The graph's signature, from the loaded nodes' own. Raises ConfigError where they do not fit."""

    def of(node: FlatNode) -> Signature:
        return signatures[node.name]

    typed = infer(plan.graph, list(plan.order), of)
    if typed.complaints:
        raise ConfigError(
            "\n".join(
                f"graph {plan.graph.name}: node {node}: {field}: {text}" for node, field, text in typed.complaints
            )
        )
    return graph_signature(plan.graph, typed)
