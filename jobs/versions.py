"""Which version of each model a job uses: found once, before it starts, and the same in every process."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from configs.errors import ModelError
from configs.graph import EnsembleNode, ServableNode
from graphs.flat import FlatGraph, FlatNode
from servables.sources.aside import LONG_S
from servables.sources.base import CONTENT_LENGTH, Published
from servables.sources.named import source_of


class Version(NamedTuple):
    """A version of a node's model."""

    model: str
    number: int
    content: str
    """Start of its fingerprint."""


def resolve(graph: FlatGraph, root: Path) -> Mapping[str, Version]:
    """Node → version, of all nodes that have models. Raises ModelError that names the node."""
    found = {}
    for node in graph.all_nodes():
        if (model := getattr(node.config, "model", None)) is not None:
            try:
                found[node.name] = _resolve(node, model, root)
            except ModelError as error:
                raise ModelError(f"node {node.name}: {error.message}") from error
    return found


def _resolve(node: FlatNode, model: str, root: Path) -> Version:
    assert isinstance(node.config, ServableNode | EnsembleNode)
    rules = node.config.versions if isinstance(node.config, ServableNode) else None
    listed = None if rules is None else rules.only
    only = listed if node.config.version is None else [node.config.version]
    published = source_of(model, root).published(time.time(), only or (), LONG_S)
    if rules is not None and rules.alias is not None:
        only = [published.number_of(rules.alias)]
    return _newest(model, published, only)


def _newest(model: str, published: Published, only: list[int] | None) -> Version:
    numbers = [number for number in published.versions if only is None or number in only]
    if not numbers:
        wanted = f"none of the versions {', '.join(map(str, only))}" if only else "no version"
        said = "; ".join(published.notes)
        raise ModelError(f"{model} has {wanted}{said and f' ({said})'}; publish one with `millrace models push`")
    number = max(numbers)
    return Version(model, number, published.versions[number][:CONTENT_LENGTH])
