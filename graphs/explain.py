"""What the compiler made of a graph, in words: which nodes run where, and what they ask for."""

from collections.abc import Iterator
from dataclasses import dataclass

from configs.graph import (
    CallNode,
    EnsembleNode,
    LookupNode,
    ModelNode,
    ModelsNode,
    NodeBase,
    RetrieveNode,
    SwitchNode,
)
from configs.node_options import Replicas
from graphs.plan import DECIDE, Plan, Step, StepKind


@dataclass(frozen=True)
class StageRow:
    """One process (or kind of process) of the running graph."""

    stage: str
    nodes: tuple[str, ...]
    cpus: float
    gpus: float
    replicas: str
    max_rows: int
    note: str


def stages(plan: Plan, gateway_cpus: float) -> list[StageRow]:
    """The gateway and each placed node."""
    graph = plan.graph.config
    inline = tuple(name for name in plan.order if name not in plan.placed)
    rows = [StageRow("gateway", inline, gateway_cpus, 0, "as the gateway's", graph.batch.max_rows, _inline_note(plan))]
    for name in plan.placed:
        node = plan.graph.nodes[name]
        config = node.config
        note = "; ".join(_reasons(config))
        cpus = config.cpus or 1
        rows.append(
            StageRow(f"stage {name}", (name,), cpus, config.gpus, replica_range(config), node.batch.max_rows, note)
        )
    return rows


def longest_hops(plan: Plan) -> int:
    """Most hops between processes that one request takes one after another."""
    depth: list[int] = []
    for step in plan.steps:
        before = max((depth[need] for need in step.needs), default=0)
        depth.append(before + (step.kind is StepKind.PLACED))
    return max(depth, default=0)


def describe_step(step: Step) -> str:
    """One step in a line."""
    units = ", ".join(f"{unit.removesuffix(DECIDE)} (decide)" if unit.endswith(DECIDE) else unit for unit in step.units)
    rows = "" if not step.scope else " for the rows of " + " / ".join(f"{switch}={case}" for switch, case in step.scope)
    how = {
        StepKind.FUSED: "fused, one batched call in a thread",
        StepKind.ALONE: "one batched call in a thread",
        StepKind.COROUTINE: "on the event loop, per request",
        StepKind.STREAM: "a generator: several answers",
        StepKind.PLACED: "one hop to its stage",
        StepKind.MERGE: "rows of the cases come back together",
    }[step.kind]
    return f"{units}: {how}{rows}"


def kind_of(config: NodeBase) -> str:
    """What a node is, in a few words."""
    match config:
        case CallNode():
            return f"call {config.call}"
        case ModelNode():
            return f"model {config.model}"
        case ModelsNode():
            return f"models {config.models}"
        case LookupNode():
            return f"lookup {config.model}"
        case RetrieveNode():
            return f"retrieve {config.model}"
        case EnsembleNode():
            return f"ensemble {config.ensemble}"
        case SwitchNode():
            return f"switch {config.switch}"
    return type(config).__name__


def replica_range(config: NodeBase) -> str:
    """How many replicas a placed node has: `2`, or `1…4`."""
    replicas = config.replicas or Replicas()
    return str(replicas.min) if replicas.min == replicas.max else f"{replicas.min}…{replicas.max}"


def _inline_note(plan: Plan) -> str:
    fused = sum(step.kind is StepKind.FUSED for step in plan.steps)
    return f"{fused} batched call{'s' if fused != 1 else ''} a request"


def _reasons(config: NodeBase) -> Iterator[str]:
    if config.gpus:
        yield f"asks for {config.gpus:g} GPU"
        if config.gpus < 1:
            yield f"Ray books the fraction; the stage caps its framework to {config.gpus:.0%} of the GPU's memory"
    if config.replicas is not None:
        yield "asks for its own replicas"
    if config.isolate:
        yield "asks for isolation"
    if isinstance(config, ModelsNode):
        yield f"holds models of up to {config.max_bytes:,} bytes"
    if not config.placed:
        yield f"asks for {config.cpus:g} CPUs, more than the gateway's share"
