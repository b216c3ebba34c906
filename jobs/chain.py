"""A plan as the links of a chain: what Ray Data does one after another, each with processes of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from configs.errors import ConfigError
from configs.graph import CallNode, ModelsNode, NodeBase
from configs.node_options import Batch, Replicas
from graphs.flat import Edge, FlatGraph, FlatNode
from graphs.plan import DECIDE, Plan, Step, StepKind

CALL_ROWS = 1024
"""Most rows in one call of a node, where nobody says or has found another number."""
NO_HURRY_S = 1e9
"""A job's rows wait for a node as long as it takes."""


@dataclass(frozen=True)
class Link:
    """Steps that run in the same processes, and what the links after them read."""

    plan: Plan
    """With these steps only; what would be a stage of its own is a node of these processes."""
    cpus: float
    gpus: float
    placed: bool
    """Whether the graph says what it books."""
    replicas: Replicas
    keeps: frozenset[Edge]
    """What later links read, or the graph gives."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it runs."""
        units = [unit.removesuffix(DECIDE) for step in self.plan.steps for unit in step.units]
        return tuple(dict.fromkeys(units))

    @property
    def call_rows(self) -> int:
        """Rows that go through its nodes together: none is called with more than it says."""
        return min((node.batch.max_rows for node in self.loaded), default=CALL_ROWS)

    @property
    def loaded(self) -> list[FlatNode]:
        """What these processes load: the nodes, and what stands in for one."""
        nodes = [self.plan.graph.nodes[name] for name in self.nodes]
        return [each for node in nodes for each in (node, node.fallback) if each is not None]


def chain(plan: Plan, cpus: float, replicas: Replicas) -> list[Link]:
    """Few links in which each step comes after what it needs; each placed node has one of its own.

    Args:
        cpus: of each process that runs nodes which are not placed.
        replicas: so many of those processes.

    Raises:
        ConfigError: a node cannot be part of a job.
    """
    _refuse(plan)
    groups: list[list[int]] = []
    group_of: dict[int, int] = {}
    for index, step in enumerate(plan.steps):
        group_of[index] = _group(plan, step, groups, group_of)
        groups[group_of[index]].append(index)
    return [_link(plan, groups, number, cpus, replicas) for number in range(len(groups))]


def for_a_job(graph: FlatGraph, calls: Mapping[str, int]) -> FlatGraph:
    """The graph without what is for requests that hurry: second calls, timeouts, caches, limits of waiting.

    Args:
        calls: node → most rows in one of its calls, where it does not say it itself.
    """
    nodes = {name: _unhurried(node, calls.get(name, CALL_ROWS)) for name, node in graph.nodes.items()}
    return replace(graph, nodes=nodes)


def apart(plan: Plan) -> Plan:
    """The plan whose nodes are called with one piece of rows at a time.

    Which rows share a call must not depend on time: the last bit of a network's answer depends on how many they are.
    """
    nodes = {name: _apart(node) for name, node in plan.graph.nodes.items()}
    return replace(plan, graph=replace(plan.graph, nodes=nodes))


def _apart(node: FlatNode) -> FlatNode:
    alone = Batch(max_rows=1, p99_ms=None, max_wait_s=NO_HURRY_S)  # who has more rows is called alone
    fallback = _apart(node.fallback) if node.fallback is not None else None
    return replace(node, config=node.config.model_copy(update={"batch": alone}), fallback=fallback)


def says_rows(node: FlatNode) -> bool:
    """Whether the graph says how many rows a call of the node takes."""
    return "max_rows" in node.batch.model_fields_set


def _unhurried(node: FlatNode, rows: int) -> FlatNode:
    most = node.batch.max_rows if says_rows(node) else rows
    batch = Batch(max_rows=most, p99_ms=None, max_wait_s=NO_HURRY_S)
    changes = {"batch": batch, "hedge": False, "timeout_s": None, "cache": None}
    fallback = _unhurried(node.fallback, rows) if node.fallback is not None else None
    return replace(node, config=node.config.model_copy(update=changes), fallback=fallback)


def _group(plan: Plan, step: Step, groups: list[list[int]], group_of: Mapping[int, int]) -> int:
    """Where a step goes: to others that are not placed, if what it needs comes before or with them."""
    if step.kind is not StepKind.PLACED:
        first = max((group_of[need] + _placed(plan, need) for need in step.needs), default=0)
        for number in range(first, len(groups)):
            if not _placed(plan, groups[number][0]):
                return number
    groups.append([])
    return len(groups) - 1


def _placed(plan: Plan, index: int) -> bool:
    return plan.steps[index].kind is StepKind.PLACED


def _link(plan: Plan, groups: list[list[int]], number: int, cpus: float, replicas: Replicas) -> Link:
    own = {old: new for new, old in enumerate(groups[number])}
    steps = [_inside(plan.steps[old], own) for old in groups[number]]
    later = [plan.steps[index] for group in groups[number + 1 :] for index in group]
    keeps = {edge for step in later for edge in (*step.reads, *_merged(plan, step))}
    made = replace(plan, steps=tuple(steps))
    kept = frozenset(keeps | set(plan.graph.outputs.values()))
    if not _placed(plan, groups[number][0]):
        return Link(made, cpus, 0.0, False, replicas, kept)
    config = plan.graph.nodes[steps[0].units[0]].config
    return Link(made, config.cpus or 1.0, config.gpus, True, config.replicas or _one(), kept)


def _one() -> Replicas:
    return Replicas(min=1, max=1)  # type: ignore[call-arg]


def _merged(plan: Plan, step: Step) -> Sequence[Edge]:
    """What a switch's merge reads beside its decision."""
    cases = [plan.graph.nodes[unit.removesuffix(DECIDE)].cases for unit in step.units]
    return [edge for each in cases for outputs in each.values() for edge in outputs.values()]


def _inside(step: Step, own: Mapping[int, int]) -> Step:
    kind = StepKind.ALONE if step.kind is StepKind.PLACED else step.kind
    return replace(step, kind=kind, needs=tuple(own[need] for need in step.needs if need in own))


def _refuse(plan: Plan) -> None:
    for name, node in plan.graph.nodes.items():
        if reason := _reason(plan, name, node.config):
            raise ConfigError(f"graph {plan.graph.name}: node {name} {reason}; leave it out of the graph of the job")


def _reason(plan: Plan, name: str, config: NodeBase) -> str:
    if name == plan.stream:
        return "gives several answers, for which a table has no place"
    if isinstance(config, CallNode) and config.sequences is not None:
        return "keeps state between requests, which rows of a table are not"
    if isinstance(config, ModelsNode):
        return "stands for many models, which a job does not load"
    return ""
