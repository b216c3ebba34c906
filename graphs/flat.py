"""One flat set of nodes from a graph and its sub-graphs: references become edges."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from configs.errors import ConfigError
from configs.graph import (
    MODEL,
    GraphConfig,
    LookupNode,
    ModelsNode,
    NodeBase,
    SubgraphNode,
    SwitchNode,
    fallback_node,
)
from configs.node_options import Batch
from configs.tensors import TensorSpec

CASE = "@case"
"""Output name under which a switch's decision (INT case index a row) travels."""


FALLBACK = "!"
"""Suffix of the name of a node that stands in for another."""
OTHERWISE = "~"
"""Suffix of the name of the switch that a lookup's `otherwise` becomes."""


class Edge(NamedTuple):
    """One output of one node; the graph's own inputs have the node name ``""``."""

    node: str
    output: str

    def __str__(self) -> str:
        return f"{self.node}.{self.output}" if self.node else self.output


@dataclass(frozen=True)
class FlatNode:
    """A node whose references are resolved. `name` is `outer/inner` for a node of a sub-graph."""

    name: str
    config: NodeBase
    inputs: Mapping[str, tuple[Edge, ...]]
    cases: Mapping[str, Mapping[str, Edge]] = field(default_factory=dict)
    fallback: "FlatNode | None" = None
    """The node that answers when this one does not; it has the same inputs and is called in the gateway."""

    @property
    def batch(self) -> Batch:
        """Batching of its calls: its own, or its graph's, which flattening has given to it."""
        return self.config.batch or Batch()

    def reads(self) -> Iterator[Edge]:
        """Every edge this node needs."""
        for edges in self.inputs.values():
            yield from edges
        for case in self.cases.values():
            yield from case.values()


@dataclass(frozen=True)
class Border:
    """An input of a sub-graph: what the sub-graph declares, and the edge that feeds it."""

    node: str
    input: str
    spec: TensorSpec
    edge: Edge


@dataclass(frozen=True)
class FlatGraph:
    """A graph without sub-graphs."""

    name: str
    inputs: Mapping[str, TensorSpec]
    nodes: Mapping[str, FlatNode]
    outputs: Mapping[str, Edge]
    config: GraphConfig
    borders: tuple[Border, ...] = ()

    @property
    def model_input(self) -> str | None:
        """The input that names each row's model to its `models` nodes; None if there is none, or more than one."""
        nodes = [node for node in self.nodes.values() if isinstance(node.config, ModelsNode)]
        edges = {edge for node in nodes for edge in node.inputs[MODEL]}
        named = {edge.output for edge in edges if edge.node == ""}
        return named.pop() if len(edges) == len(named) == 1 else None

    def all_nodes(self) -> Iterator[FlatNode]:
        """Every node and every node that stands in for one."""
        for node in self.nodes.values():
            yield node
            if node.fallback is not None:
                yield node.fallback


LoadGraph = Callable[[str], GraphConfig]


def flatten(config: GraphConfig, load: LoadGraph) -> FlatGraph:
    """Replace each sub-graph node by the nodes of its graph, and each lookup's `otherwise` by a switch.

    Args:
        load: reads the graph of a path, as written in a node's `graph`.

    Raises:
        ConfigError: a graph contains itself, or a reference goes round in sub-graphs.
    """
    flattener = _Flattener(load)
    flattener.add(config, prefix="", inside=())
    resolved = [flattener.resolved(node) for node in flattener.nodes]
    switched = {Edge(node.name, output): edge for node in resolved for output, edge in _switched(node).items()}

    def resolve(edge: Edge) -> Edge:
        found = flattener.resolve(edge)
        return switched.get(found, found)

    nodes = {each.name: each for node in resolved for each in _with_switch(_reading(node, switched))}
    outputs = {name: resolve(_edge(ref, "")) for name, ref in config.outputs.items()}
    borders = tuple(replace(border, edge=resolve(border.edge)) for border in flattener.borders)
    return FlatGraph(config.name, config.inputs, _without_unread(nodes, outputs), outputs, config, borders)


def _switched(node: FlatNode) -> dict[str, Edge]:
    """Outputs of a lookup that its switch gives in its place."""
    outputs = node.config.otherwise or {} if isinstance(node.config, LookupNode) else {}
    return {output: Edge(node.name + OTHERWISE, output) for output in outputs}


def _reading(node: FlatNode, instead: Mapping[Edge, Edge]) -> FlatNode:
    """The node, reading other edges."""
    inputs = {name: tuple(instead.get(edge, edge) for edge in edges) for name, edges in node.inputs.items()}
    cases = {case: {out: instead.get(edge, edge) for out, edge in outs.items()} for case, outs in node.cases.items()}
    fallback = replace(node.fallback, inputs=inputs) if node.fallback is not None else None
    return replace(node, inputs=inputs, cases=cases, fallback=fallback)


def _with_switch(node: FlatNode) -> list[FlatNode]:
    """A lookup with `otherwise` as the lookup, and the switch between what it found and the references."""
    if not isinstance(node.config, LookupNode) or node.config.otherwise is None:
        return [node]
    (missed,) = node.cases.values()
    found = {output: Edge(node.name, output) for output in missed}
    name = node.name.rpartition("/")[2]
    fields = {
        "switch": "graphs.switches:by_found",
        "inputs": {"found": f"{name}.found"},
        "cases": {"true": {output: f"{name}.{output}" for output in missed}, "false": node.config.otherwise},
        "batch": node.config.batch,
    }
    inputs = {"found": (Edge(node.name, "found"),)}
    cases = {"true": found, "false": missed}
    switch = FlatNode(node.name + OTHERWISE, SwitchNode.model_validate(fields), inputs, cases)
    return [replace(node, cases={}), switch]


def _without_unread(nodes: dict[str, FlatNode], outputs: Mapping[str, Edge]) -> dict[str, FlatNode]:
    """Leave out what lies in a sub-graph and feeds only outputs of it that nobody here reads."""
    waiting = [edge.node for edge in outputs.values()]
    waiting += [name for name in nodes if "/" not in name]
    read: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in read:
            read.add(name)
            waiting.extend(edge.node for edge in nodes[name].reads())
    return {name: node for name, node in nodes.items() if name in read}


def _edge(reference: str, prefix: str) -> Edge:
    node, _, output = reference.rpartition(".")
    return Edge(prefix + node, output) if node else Edge(prefix, output)


class _Flattener:
    """Collects nodes and the aliases that sub-graph borders leave behind."""

    def __init__(self, load: LoadGraph) -> None:
        self._load = load
        self._aliases: dict[Edge, Edge] = {}
        self.borders: list[Border] = []
        self.nodes: list[FlatNode] = []

    def add(self, config: GraphConfig, prefix: str, inside: tuple[str, ...]) -> None:
        for name, node in config.nodes.items():
            if isinstance(node, SubgraphNode):
                self._add_subgraph(node, prefix, name, inside)
            else:
                batched = node if node.batch is not None else node.model_copy(update={"batch": config.batch})
                self.nodes.append(_flat_node(batched, prefix, name))

    def _add_subgraph(self, node: SubgraphNode, prefix: str, name: str, inside: tuple[str, ...]) -> None:
        if node.graph in inside:
            raise ConfigError(f"node {prefix}{name}: graph {node.graph} contains itself ({' → '.join(inside)})")
        inner = self._load(node.graph)
        inner_prefix = f"{prefix}{name}/"
        if missing := set(inner.inputs) ^ set(node.inputs):
            raise ConfigError(
                f"node {prefix}{name}: inputs {sorted(node.inputs)} but graph {node.graph} has "
                f"{sorted(inner.inputs)}; correct {', '.join(sorted(missing))}"
            )
        for input_name, reference in node.inputs.items():
            outer = _edge(reference, prefix)
            self._aliases[Edge(inner_prefix, input_name)] = outer
            self.borders.append(Border(prefix + name, input_name, inner.inputs[input_name], outer))
        for output, reference in inner.outputs.items():
            self._aliases[Edge(prefix + name, output)] = _edge(reference, inner_prefix)
        self.add(inner, inner_prefix, (*inside, node.graph))

    def resolve(self, edge: Edge) -> Edge:
        seen = [edge]
        while (edge := self._aliases.get(edge, edge)) not in seen:
            seen.append(edge)
        if edge != seen[-1]:
            raise ConfigError(f"reference {seen[0]} goes round: {' → '.join(map(str, seen))}")
        return edge

    def resolved(self, node: FlatNode) -> FlatNode:
        inputs = {name: tuple(map(self.resolve, edges)) for name, edges in node.inputs.items()}
        cases = {case: {out: self.resolve(edge) for out, edge in outs.items()} for case, outs in node.cases.items()}
        stand_in = fallback_node(node.config)
        if stand_in is not None:
            stand_in = stand_in.model_copy(update={"batch": node.config.batch})
        fallback = FlatNode(node.name + FALLBACK, stand_in, inputs) if stand_in is not None else None
        return FlatNode(node.name, node.config, inputs, cases, fallback)


def _flat_node(node: NodeBase, prefix: str, name: str) -> FlatNode:
    inputs = {
        input_name: tuple(_edge(ref, prefix) for ref in (refs if isinstance(refs, list) else [refs]))
        for input_name, refs in node.inputs.items()
    }
    cases: dict[str, dict[str, Edge]] = {}
    if isinstance(node, SwitchNode):
        cases = {case: {out: _edge(ref, prefix) for out, ref in outs.items()} for case, outs in node.cases.items()}
    elif isinstance(node, LookupNode) and node.otherwise is not None:
        cases = {"false": {out: _edge(ref, prefix) for out, ref in node.otherwise.items()}}
    return FlatNode(prefix + name, node, inputs, cases)
