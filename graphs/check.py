"""Everything that can be known to be wrong with a graph before anything starts, all at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from configs.documents import Document, Texts, load_document
from configs.errors import ConfigError, ModelError
from configs.graph import CallNode, EnsembleNode, GraphConfig, ModelsNode, NodeBase, ServableNode, SwitchNode
from configs.loader import load_graph, parse_graph
from configs.problems import Problem, config_error, nearest
from configs.tensors import Signature
from graphs.callables import declared_signature, import_callable
from graphs.flat import CASE, FALLBACK, OTHERWISE, Edge, FlatGraph, FlatNode, flatten
from graphs.order import topological
from graphs.policies import constant_row
from graphs.sequences import STATES
from graphs.typing import TypedGraph, infer
from servables.shelf import Shelf
from servables.sources.named import is_remote, source_of


@dataclass(frozen=True)
class CheckedGraph:
    """A graph in which nothing is known to be wrong. Model signatures are not read yet."""

    flat: FlatGraph
    root: Path
    """The folder that relative paths of models and sub-graphs start from."""


def check_file(path: Path, root: Path, profile: str = "", texts: Texts = MappingProxyType({})) -> CheckedGraph:
    """Load and check a graph's YAML file. Raises ConfigError that lists every problem, with lines."""
    document = load_document(path, texts)
    return check_graph(parse_graph(document), root, document, profile, texts)


def check_graph(
    config: GraphConfig,
    root: Path,
    document: Document | None = None,
    profile: str = "",
    texts: Texts = MappingProxyType({}),
) -> CheckedGraph:
    """Check a graph.

    Args:
        root: the folder that relative paths of models and sub-graphs start from.
        document: where the graph was read from, for line numbers.
        profile: placement profile, of this graph and its sub-graphs; one that a graph does not have changes nothing.
        texts: contents that stand for those of files.

    Raises:
        ConfigError: lists every problem found.
    """
    document = document or Document(Path(f"<graph {config.name}>"), {}, {})
    try:
        flat = flatten(config.with_profile(profile), lambda path: load_graph(root / path, texts).with_profile(profile))
    except ConfigError as error:
        raise config_error([document.problem(("nodes",), error.message)]) from None
    problems = [*_structure(flat, document), *_code(flat, document), *_models(flat, document, root)]
    if problems:
        raise config_error(problems)
    typed = infer(flat, reading_order(flat), static_signature)
    if typed.complaints:
        raise config_error([document.problem(place_of(node, field), text) for node, field, text in typed.complaints])
    if problems := list(_constants(flat, typed, document)):
        raise config_error(problems)
    return CheckedGraph(flat, root)


def static_signature(node: FlatNode) -> Signature:
    """What a node's code declares without being constructed; unknown for models."""
    for path in _code_paths(node.config):
        if isinstance(node.config, SwitchNode):
            return Signature()
        return declared_signature(import_callable(path).target, path)
    return Signature()


def reading_order(flat: FlatGraph) -> list[str]:
    """Node names, each after those that it reads. Raises ConfigError that spells out a cycle."""
    reads = {name: {edge.node for edge in node.reads() if edge.node} for name, node in flat.nodes.items()}
    return topological(reads)


def place_of(node: str, field: str) -> tuple[str, ...]:
    """Where a node's field stands in the file: a sub-graph's nodes are reported at its node."""
    if not node:
        return tuple(field.split("."))
    if node.endswith(FALLBACK):
        node, field = node.removesuffix(FALLBACK), f"fallback.{field}"
    if node.endswith(OTHERWISE):
        node, field = node.removesuffix(OTHERWISE), f"otherwise.{field.rpartition('.')[2]}"
    outer, slash, _ = node.partition("/")
    return ("nodes", outer) if slash else ("nodes", node, *field.split("."))


def _structure(flat: FlatGraph, document: Document) -> Iterator[Problem]:
    unknown = list(_unknown_references(flat, document))
    yield from unknown
    for name in sorted(set(flat.inputs) & set(flat.nodes)):
        yield document.problem(("nodes", name), f"{name} is also a graph input", remedy="rename one of them")
    if unknown:
        return
    try:
        reading_order(flat)
    except ConfigError as error:
        yield document.problem(("nodes",), error.message)
        return
    yield from _unreachable(flat, document)


def _unknown_references(flat: FlatGraph, document: Document) -> Iterator[Problem]:
    for name, node in flat.nodes.items():
        for field, edge in _fields_and_edges(node):
            yield from _unknown(flat, document, place_of(name, field), edge)
    for output, edge in flat.outputs.items():
        yield from _unknown(flat, document, ("outputs", output), edge)


def _fields_and_edges(node: FlatNode) -> Iterator[tuple[str, Edge]]:
    for input_name, edges in node.inputs.items():
        for edge in edges:
            yield f"inputs.{input_name}", edge
    for case, outputs in node.cases.items():
        for output, edge in outputs.items():
            yield f"cases.{case}.{output}", edge


def _unknown(flat: FlatGraph, document: Document, field: tuple[str, ...], edge: Edge) -> Iterator[Problem]:
    if edge.node in flat.nodes or (edge.node == "" and edge.output in flat.inputs):
        return
    if edge.output == "" or edge.node.endswith("/") or edge.node == "":
        wanted, kind, known = edge.output, "graph input", list(flat.inputs)
    else:
        wanted, kind, known = edge.node, "node", list(flat.nodes)
    close = nearest(wanted, known)
    remedy = f"did you mean `{close}`?" if close else f"there are {', '.join(known)}"
    if kind == "graph input" and wanted in flat.nodes:
        remedy = f"name one of the outputs of node {wanted}: `{wanted}.<output>`"
    yield document.problem(field, f"there is no {kind} `{wanted}`", str(edge), remedy)


def _unreachable(flat: FlatGraph, document: Document) -> Iterator[Problem]:
    used: set[Edge] = set()
    waiting = list(flat.outputs.values())
    reached: set[str] = set()
    while waiting:
        edge = waiting.pop()
        used.add(edge)
        if edge.node and edge.node not in reached:
            reached.add(edge.node)
            waiting.extend(flat.nodes[edge.node].reads())
    for name in flat.nodes:
        if name not in reached:
            switch = name.endswith(OTHERWISE)
            what = f"`otherwise` of node {name.removesuffix(OTHERWISE)}" if switch else f"node {name}"
            yield document.problem(
                place_of(name, "")[:2],
                f"no output of the graph depends on {what}",
                remedy="read it somewhere, or remove it",
            )
    for name in flat.inputs:
        if Edge("", name) not in used:
            yield document.problem(("inputs", name), f"no node reads the input {name}", remedy="remove it")


def _code_paths(config: NodeBase) -> list[str]:
    """Import paths that a node names."""
    match config:
        case CallNode():
            return [config.call]
        case EnsembleNode() if ":" in config.ensemble:
            return [config.ensemble]
        case SwitchNode() if ":" in config.switch:
            return [config.switch]
    return []


def _code(flat: FlatGraph, document: Document) -> Iterator[Problem]:
    for node in flat.all_nodes():
        name = node.name
        for path in _code_paths(node.config):
            kind = next(key for key in ("call", "ensemble", "switch") if hasattr(node.config, key))
            field = place_of(name, kind)
            try:
                user = import_callable(path)
                declared_signature(user.target, path)
            except ConfigError as error:
                yield document.problem(field, error.message, remedy="correct the import path or the module")
                continue
            if isinstance(node.config, CallNode | SwitchNode):
                arguments: dict[str, object] = dict(node.inputs)
                if isinstance(node.config, CallNode) and node.config.sequences is not None:
                    arguments[STATES] = ()
                for text in user.problems(arguments, node.config.with_):
                    yield document.problem(place_of(name, "inputs"), text)
            if user.is_async and not isinstance(node.config, CallNode):
                yield document.problem(field, f"{path} is a coroutine; only `call` nodes may be")
            if user.is_stream:
                yield from _stream(flat, document, node, path)
            if user.is_async and name.endswith(FALLBACK):
                yield document.problem(field, f"{path} is a coroutine; what stands in for a node may not be one")
            if user.is_async and (node.config.placed or node.config.cpus is not None):
                yield document.problem(
                    field,
                    f"{path} is a coroutine; it runs on the gateway's event loop",
                    remedy="remove cpus, gpus, replicas and isolate",
                )


def _stream(flat: FlatGraph, document: Document, node: FlatNode, path: str) -> Iterator[Problem]:
    """A node that gives several answers must be the last, and alone gives the graph's outputs."""
    field = place_of(node.name, "call")
    config = node.config
    if not isinstance(config, CallNode) or node.name not in flat.nodes or config.placed or config.guarded:
        remedy = "remove cpus, gpus, replicas, isolate, sequences and what retries or caches; make it a `call` node"
        yield document.problem(field, f"{path} is a generator; it runs in the gateway, as it is", remedy=remedy)
    readers = [other.name for other in flat.nodes.values() if any(edge.node == node.name for edge in other.reads())]
    if readers or any(edge.node != node.name for edge in flat.outputs.values()):
        beside = f"; {', '.join(readers)} reads it" if readers else ""
        remedy = "let all outputs of the graph come from it, and no node read it"
        yield document.problem(
            field, f"{path} is a generator, which must be a graph's last node{beside}", remedy=remedy
        )


def _constants(flat: FlatGraph, typed: TypedGraph, document: Document) -> Iterator[Problem]:
    """Values that are not what their node gives, as far as that is known before models are loaded."""
    for name, node in flat.nodes.items():
        if node.config.fallback is None or node.config.fallback.constant is None:
            continue
        known = {edge.output: spec for edge, spec in typed.specs.items() if edge.node == name and edge.output != CASE}
        try:
            constant_row(name, node.config.fallback.constant, known)
        except ConfigError as error:
            yield document.problem(place_of(name, "fallback.constant"), error.message)


def _models(flat: FlatGraph, document: Document, root: Path) -> Iterator[Problem]:
    """Nodes for whose model there is no version."""
    for node in flat.all_nodes():
        if isinstance(node.config, ModelsNode):
            yield from _shelf(document, node, node.config, root)
        if not isinstance(node.config, ServableNode | EnsembleNode) or node.config.model is None:
            continue
        try:
            source = source_of(node.config.model, root)
            if not is_remote(node.config.model):  # one that is away now need not be away when it is served
                source.local(node.config.version)
        except ModelError as error:
            kind = None if node.name.endswith(FALLBACK) else type(node.config).model_fields["model"].alias
            yield document.problem(place_of(node.name, kind or "model"), error.message)


def _shelf(document: Document, node: FlatNode, config: ModelsNode, root: Path) -> Iterator[Problem]:
    """A `models` node whose folder is not there, or holds no model that would tell its outputs."""
    try:
        names = [] if is_remote(config.models) else Shelf(config.models, root).names()
    except ModelError as error:
        yield document.problem(place_of(node.name, "models"), error.message)
        return
    if not names and config.outputs is None:
        yield document.problem(
            place_of(node.name, "models"),
            "holds no model yet, so nobody knows its outputs",
            config.models,
            f"put a version in {config.models}/<name>/1/, or give the node `outputs`",
        )
