"""Compile a checked graph into steps: what runs fused in this process, and what takes a hop to a stage."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from configs.graph import CallNode, SwitchNode
from graphs.callables import import_callable
from graphs.flat import CASE, Edge, FlatGraph, FlatNode
from graphs.order import closures, topological
from graphs.scopes import Scope, scopes

DECIDE = "?"
"""Suffix of the unit that takes a switch's decision; the switch's own name is the unit that merges."""


class StepKind(StrEnum):
    """How a step's nodes are run."""

    FUSED = "fused"
    """Synchronous nodes of this process: one batched call in a worker thread."""
    ALONE = "alone"
    """A synchronous node of this process with a timeout, a cache or the like, or not idempotent: a call of its own."""
    COROUTINE = "coroutine"
    """An `async` node: on the event loop, per request."""
    STREAM = "stream"
    """The last node of a graph that gives several answers: a generator, run when all else is done."""
    PLACED = "placed"
    """A stage deployment: one hop by handle."""
    MERGE = "merge"
    """A switch whose cases come from other steps: rows are brought together on the event loop."""


@dataclass(frozen=True)
class Step:
    """Units that run together, all starting from the rows of one scope."""

    kind: StepKind
    units: tuple[str, ...]
    scope: Scope
    reads: tuple[Edge, ...]
    writes: tuple[Edge, ...]
    needs: tuple[int, ...]
    """Indices of the steps that come before."""


@dataclass(frozen=True)
class Plan:
    """The compiled graph: steps in dependency order."""

    graph: FlatGraph
    steps: tuple[Step, ...]
    scope_of: Mapping[str, Scope]
    cases: Mapping[str, tuple[str, ...]]
    order: tuple[str, ...]
    """Node names, each after those that it reads."""

    @property
    def placed(self) -> tuple[str, ...]:
        """Names of the nodes that have a stage deployment of their own."""
        return tuple(step.units[0] for step in self.steps if step.kind is StepKind.PLACED)

    @property
    def stream(self) -> str | None:
        """Name of the node that gives several answers; None if the graph gives one."""
        return next((step.units[0] for step in self.steps if step.kind is StepKind.STREAM), None)


def is_placed(node: FlatNode, gateway_cpus: float) -> bool:
    """Whether a node runs as a stage of its own: it asks to, or wants more CPUs than the gateway has."""
    config = node.config
    return not isinstance(config, SwitchNode) and (config.placed or (config.cpus or 0) > gateway_cpus)


def compile_plan(graph: FlatGraph, gateway_cpus: float = 1.0) -> Plan:
    """Find the fewest steps that respect what the nodes ask for.

    Two synchronous inline units are fused when the same hops, coroutines and lone nodes lie before and after both:
    then neither ever waits for something that the other does not wait for.
    """
    return _Compiler(graph, gateway_cpus).plan()


class _Compiler:
    def __init__(self, graph: FlatGraph, gateway_cpus: float) -> None:
        self.graph = graph
        self.cases = {name: tuple(node.cases) for name, node in graph.nodes.items() if node.cases}
        node_order = topological({name: _nodes_read(node) for name, node in graph.nodes.items()})
        self.node_order = tuple(name for name in node_order if name in graph.nodes)
        self.scope_of = scopes(graph, list(self.node_order))
        self.reads = self._unit_reads()
        self.order = topological(
            {unit: {self._unit_of(e) for e in edges if e.node} for unit, edges in self.reads.items()}
        )
        self.needs = {unit: {self._unit_of(e) for e in self.reads[unit] if e.node} for unit in self.order}
        self.kinds = {unit: self._kind(unit, gateway_cpus) for unit in self.order}

    def plan(self) -> Plan:
        keys = self._fusion_keys()
        groups: dict[object, list[str]] = defaultdict(list)
        for unit in self.order:
            alone = self.kinds[unit] is not StepKind.FUSED
            groups[unit if alone else (keys[unit], self._entry(unit, keys))].append(unit)
        return Plan(self.graph, self._steps(list(groups.values()), keys), self.scope_of, self.cases, self.node_order)

    def _unit_reads(self) -> dict[str, list[Edge]]:
        """What each unit reads; a node in a case also reads the decision that selects its rows."""
        reads: dict[str, list[Edge]] = {}
        for name, node in self.graph.nodes.items():
            selected = [Edge(switch, CASE) for switch, _ in self.scope_of[name]]
            inputs = [edge for edges in node.inputs.values() for edge in edges]
            if node.cases:
                reads[name + DECIDE] = selected + inputs
                reads[name] = [*selected, Edge(name, CASE), *(e for outs in node.cases.values() for e in outs.values())]
            else:
                reads[name] = selected + inputs
        return reads

    def _unit_of(self, edge: Edge) -> str:
        return edge.node + DECIDE if edge.output == CASE else edge.node

    def _kind(self, unit: str, gateway_cpus: float) -> StepKind:
        node = self.graph.nodes[unit.removesuffix(DECIDE)]
        if is_placed(node, gateway_cpus):
            return StepKind.PLACED
        if isinstance(node.config, CallNode):
            user = import_callable(node.config.call)
            if user.is_async or user.is_stream:
                return StepKind.STREAM if user.is_stream else StepKind.COROUTINE
        return StepKind.ALONE if node.config.guarded or not node.config.idempotent else StepKind.FUSED

    def _fusion_keys(self) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
        """Which borders lie before and after each unit; a merge apart from its decision is a border too."""
        while True:
            borders = {unit for unit in self.order if self.kinds[unit] is not StepKind.FUSED}
            before = closures(self.order, self.needs, borders)
            readers: dict[str, set[str]] = {unit: set() for unit in self.order}
            for unit, needs in self.needs.items():
                for need in needs:
                    readers[need].add(unit)
            after = closures(reversed(self.order), readers, borders)
            keys = {unit: (before[unit], after[unit]) for unit in self.order}
            apart = [s for s in self.cases if s not in borders and keys[s] != keys[s + DECIDE]]
            if not apart:
                return keys
            for switch in apart:
                self.kinds[switch] = StepKind.MERGE

    def _entry(self, unit: str, keys: Mapping[str, object]) -> Scope:
        """The scope a step starts from: inner cases whose whole switch is fused with the unit are inside."""
        scope = self.scope_of[unit.removesuffix(DECIDE)]
        while scope and self.kinds[scope[-1][0]] is StepKind.FUSED and keys[scope[-1][0]] == keys[unit]:
            scope = scope[:-1]
        return scope

    def _steps(self, groups: list[list[str]], keys: Mapping[str, object]) -> tuple[Step, ...]:
        group_of = {unit: index for index, group in enumerate(groups) for unit in group}
        needs = {
            str(index): {str(group_of[need]) for unit in group for need in self.needs[unit]} - {str(index)}
            for index, group in enumerate(groups)
        }
        order = [int(index) for index in topological(needs)]
        position = {old: new for new, old in enumerate(order)}
        return tuple(
            self._step(groups[old], keys, tuple(sorted(position[int(need)] for need in needs[str(old)])))
            for old in order
        )

    def _step(self, group: list[str], keys: Mapping[str, object], needs: tuple[int, ...]) -> Step:
        inside = set(group)
        reads = {edge: None for unit in group for edge in self.reads[unit] if self._unit_of(edge) not in inside}
        wanted = [edge for unit, edges in self.reads.items() if unit not in inside for edge in edges]
        wanted += self.graph.outputs.values()
        writes = {edge: None for edge in wanted if edge.node and self._unit_of(edge) in inside}
        first = group[0]
        fused = self.kinds[first] is StepKind.FUSED
        scope = self._entry(first, keys) if fused else self.scope_of[first]
        selected = {Edge(switch, CASE) for switch, _ in scope}
        if self.kinds[first] is not StepKind.MERGE:
            reads = {edge: None for edge in reads if edge not in selected}
        return Step(self.kinds[first], tuple(group), scope, tuple(reads), tuple(writes), needs)


def _nodes_read(node: FlatNode) -> set[str]:
    return {edge.node for edge in node.reads() if edge.node}
