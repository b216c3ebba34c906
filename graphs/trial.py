"""Load a graph's nodes once, to check what only they can tell: names, datatypes and shapes of models."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from configs.documents import Document, load_document
from configs.errors import MillraceError
from configs.graph import ModelsNode
from configs.loader import parse_graph
from configs.problems import Problem, config_error
from configs.tensors import Rows, Signature
from graphs.check import check_graph, place_of, reading_order
from graphs.flat import FlatGraph, FlatNode
from graphs.instances import Instance, load_instance
from graphs.many import ManyModels
from graphs.typing import infer
from servables.base import LoadOptions


def try_file(path: Path, root: Path, profile: str = "", keys: tuple[str, ...] = ()) -> None:
    """Check a graph's YAML file, then load every node on the CPU and check the whole again; nothing is called.

    Args:
        keys: as in `LoadOptions`.

    Raises:
        ConfigError: lists every problem, with lines.
    """
    document = load_document(path)
    flat = check_graph(parse_graph(document), root, document, profile).flat
    instances, problems = _load(flat, root, document, LoadOptions(keys=keys))
    for instance in instances.values():
        instance.close()
    problems += _misfits(flat, {name: instance.signature for name, instance in instances.items()}, document)
    if problems:
        raise config_error(problems)


def signatures(
    flat: FlatGraph, root: Path, options: LoadOptions, versions: Mapping[str, tuple[int, str]]
) -> dict[str, Signature]:
    """What each node takes and gives: all are loaded once for it, and closed.

    Args:
        versions: node → number and content of its model's version; of others the newest.

    Raises:
        ConfigError: lists what does not load.
    """
    document = Document(Path(f"<graph {flat.name}>"), {}, {})
    instances, problems = _load(flat, root, document, options, versions)
    for instance in instances.values():
        instance.close()
    if problems:
        raise config_error(problems)
    return {name: instance.signature for name, instance in instances.items()}


def _load(
    flat: FlatGraph,
    root: Path,
    document: Document,
    options: LoadOptions,
    versions: Mapping[str, tuple[int, str]] = MappingProxyType({}),
) -> tuple[dict[str, Instance], list[Problem]]:
    instances: dict[str, Instance] = {}
    problems: list[Problem] = []
    for node in flat.all_nodes():
        try:
            many = isinstance(node.config, ModelsNode)
            instances[node.name] = (
                _one_of(node, root, options)
                if many
                else load_instance(node, root, options, *versions.get(node.name, ()))
            )
        except MillraceError as error:
            problems.append(document.problem(place_of(node.name, "")[:2], error.message))
    return instances, problems


def _one_of(node: FlatNode, root: Path, options: LoadOptions) -> Instance:
    """A node of many models, by the first of them that loads: all are alike."""

    async def signature() -> Signature:
        models = ManyModels(node, root, options)
        try:
            return await models.signature()
        finally:
            await models.close()

    found = asyncio.run(signature())
    return Instance(node.name, _never, found)


def _never(rows: Rows) -> Rows:
    raise AssertionError("nothing is called")


def _misfits(flat: FlatGraph, signatures: dict[str, Signature], document: Document) -> list[Problem]:
    typed = infer(flat, reading_order(flat), lambda node: signatures.get(node.name, Signature()))
    problems = [document.problem(place_of(node, field), text) for node, field, text in typed.complaints]
    for output, edge in flat.outputs.items():
        if edge not in typed.specs and edge.node in signatures and not problems:
            remedy = f"add `outputs: {{{edge.output}: {{datatype: …, shape: [-1, …]}}}}` to node {edge.node}"
            text = f"nothing declares the datatype and shape of {edge}"
            problems.append(document.problem(("outputs", output), text, remedy=remedy))
    return problems
