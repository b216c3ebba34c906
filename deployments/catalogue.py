"""The servables of an application's graphs: what control looks after, and which versions of each there are."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.graph import EnsembleNode, ModelNode, NodeBase
from configs.serve import AppArgs
from configs.versions import Versions
from deployments.stage import DIGEST_LENGTH, StageSpec
from graphs.flat import FlatGraph, FlatNode
from graphs.plan import is_placed
from rollouts.life import Key
from servables.store import Found, scan
from servables.versions import State


@dataclass(frozen=True)
class Served:
    """One servable: a model of a graph, or a placed node of code, which has one version."""

    graph: str
    node: FlatNode
    root: Path
    stage: StageSpec | None
    """None: it is called in the gateway."""

    @property
    def name(self) -> str:
        """`graph.node`; the names of nodes have no `-`."""
        return servable_name(self.graph, self.node.name)

    @property
    def policy(self) -> Versions:
        """Which versions are in."""
        version = getattr(self.node.config, "version", None)
        if version is not None:
            return Versions(only=[version])  # type: ignore[call-arg]
        return getattr(self.node.config, "versions", None) or Versions()  # type: ignore[call-arg]

    @property
    def folder(self) -> Path | None:
        """Where its versions lie; None for code."""
        model = model_of(self.node.config)
        return None if model is None else self.root / model

    def published(self, now: float) -> tuple[frozenset[Key], list[str]]:
        """Its whole versions, and what is to be said of the others. Reads names, sizes and times of files.

        Args:
            now: seconds since 1970.

        Raises:
            ModelError: its folder cannot be read.
        """
        if self.folder is None:
            return frozenset({self._key(0, "")}), []
        found = scan(self.folder, now)
        keys = {self._key(each.number, each.judgement.fingerprint) for each in found if self._counts(each)}
        return frozenset(keys), [each.judgement.reason for each in found if each.judgement.state is State.BROKEN]

    def _counts(self, found: Found) -> bool:
        state = found.judgement.state
        named = found.number in (self.policy.only or ())
        return found.number is not None and (state is State.WHOLE or (state is State.WAITING and named))

    def _key(self, number: int | None, fingerprint: str) -> Key:
        assert number is not None
        digest = fingerprint if self.stage is None else self.stage.digest(fingerprint)
        return Key(self.name, number, digest[:DIGEST_LENGTH])


@dataclass(frozen=True)
class Catalogue:
    """All servables of an application, by name."""

    served: Mapping[str, Served]
    configuration: str
    """Tells which gateways ask for these servables, and not for those of a configuration before or after."""


def servable_name(graph: str, node: str) -> str:
    """The servable of a node."""
    return f"{graph}.{node.replace('/', '-')}"


def model_of(config: NodeBase) -> str | None:
    """The folder of a node's versions; None for code."""
    return config.model if isinstance(config, ModelNode | EnsembleNode) else None


def catalogue(graphs: Collection[FlatGraph], root: Path, args: AppArgs) -> Catalogue:
    """The servables of these graphs."""
    served = [each for graph in graphs for each in _served(graph, root, args)]
    stages = [each.stage.digest("") for each in served if each.stage is not None]
    parts = repr(([repr(graph) for graph in graphs], stages, str(root), args.revision, args.gateway.cpus))
    return Catalogue({each.name: each for each in served}, hashlib.sha256(parts.encode()).hexdigest()[:DIGEST_LENGTH])


def _served(graph: FlatGraph, root: Path, args: AppArgs) -> Iterator[Served]:
    for node in graph.all_nodes():
        if node.name in graph.nodes and is_placed(node, args.gateway.cpus):
            stage = StageSpec(graph.name, node, root, node.batch, args.revision, args.tracing)
            yield Served(graph.name, node, root, stage)
        elif model_of(node.config) is not None:
            yield Served(graph.name, node, root, None)


def inline_nodes(graph: FlatGraph, served: Iterable[str]) -> list[FlatNode]:
    """The nodes that are no servables: code that every gateway loads when it starts."""
    known = set(served)
    return [node for node in graph.all_nodes() if servable_name(graph.name, node.name) not in known]
