"""The servables of an application's graphs: what control looks after, and which versions of each there are."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from configs.graph import EnsembleNode, NodeBase, ServableNode
from configs.serve import AppArgs
from configs.versions import Versions
from deployments.stage import DIGEST_LENGTH, StageSpec
from graphs.flat import FlatGraph, FlatNode
from graphs.plan import is_placed
from rollouts.life import Key
from servables.signing import check_signature, trusted_keys
from servables.sources.base import CONTENT_LENGTH, Source
from servables.sources.named import source_of
from servables.versions import verify


@dataclass(frozen=True)
class Offer:
    """What there is of a servable."""

    keys: frozenset[Key]
    said: Collection[str] = ()
    """Of the versions that do not count."""
    aliases: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """One servable: a model of a graph, or a placed node of code, which has one version."""

    graph: str
    node: FlatNode
    root: Path
    stage: StageSpec | None
    """None: it is called in the gateway."""
    keys: tuple[str, ...] = ()
    """Ed25519 public keys in PEM; if there are any, one of them must have signed its versions."""

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
    def source(self) -> Source | None:
        """Where its versions come from; None for code. Raises ModelError: the node's text names no source."""
        model = model_of(self.node.config)
        return None if model is None else source_of(model, self.root)

    def policy_now(self, aliases: Mapping[str, int] | None, before: int | None) -> Versions:
        """As `policy`, with the number that an alias names; while that is not known, the one of before.

        Args:
            aliases: of its source; None while it cannot be read.
            before: the version that the alias named last, or that has the traffic; None if there is none.
        """
        policy = self.policy
        number = before if policy.alias is None or aliases is None else aliases.get(policy.alias, before)
        if policy.alias is None or number is None:
            return policy
        return Versions(only=[number], keep=policy.keep)  # type: ignore[call-arg]

    def published(self, now: float) -> Offer:
        """Its whole versions, and what is to be said of the others.

        Args:
            now: seconds since 1970.

        Raises:
            ModelError: its source cannot be read.
        """
        if self.source is None:
            return Offer(frozenset({self._key(0, "")}))
        found = self.source.published(now, self.policy.only or ())
        said = list(found.notes)
        if self.policy.alias is not None and self.policy.alias not in found.aliases:
            said.append(f"no version has the alias {self.policy.alias!r}: what has the traffic keeps it")
        keys = frozenset(self._key(number, fingerprint) for number, fingerprint in found.versions.items())
        return Offer(keys, said, found.aliases)

    def content_of(self, key: Key) -> str:
        """Which content of the version's number it is, for `Source.local`. Raises ModelError if there is none such."""
        if self.stage is None or self.source is None:
            return key.digest
        return self.source.content_of(key.number, lambda content: self._key(key.number, content) == key)

    def fetch(self, key: Key) -> None:
        """Have a version's files on this machine. Raises ModelError."""
        if self.source is not None:
            self.source.local(key.number, self.content_of(key)).release()

    def verify(self, key: Key) -> None:
        """Read a version's files and compare them with their digests, and those with their signature.

        What is damaged is fetched again when it is asked for again. Raises ModelError, MissingExtra.
        """
        if self.source is None:
            return
        content = self.content_of(key)
        version = self.source.local(key.number, content)
        whole = False
        try:
            verify(version.path)
            whole = True
            if self.keys:
                check_signature(version.path, self.keys)
        finally:
            version.release()
            if not whole:
                self.source.forget(key.number, content)

    def _key(self, number: int, fingerprint: str) -> Key:
        content = fingerprint[:CONTENT_LENGTH]
        return Key(self.name, number, content if self.stage is None else self.stage.digest(content)[:DIGEST_LENGTH])


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
    return config.model if isinstance(config, ServableNode | EnsembleNode) else None


def catalogue(graphs: Collection[FlatGraph], root: Path, args: AppArgs) -> Catalogue:
    """The servables of these graphs. Raises ConfigError for a file of `trusted_keys` that holds none."""
    keys = trusted_keys([root / path for path in args.trusted_keys])
    served = [each for graph in graphs for each in _served(graph, root, args, keys)]
    stages = [each.stage.digest("") for each in served if each.stage is not None]
    parts = repr(([repr(graph) for graph in graphs], stages, str(root), args.revision, args.gateway.cpus, keys))
    return Catalogue({each.name: each for each in served}, hashlib.sha256(parts.encode()).hexdigest()[:DIGEST_LENGTH])


def _served(graph: FlatGraph, root: Path, args: AppArgs, keys: tuple[str, ...]) -> Iterator[Served]:
    for node in graph.all_nodes():
        if node.name in graph.nodes and is_placed(node, args.gateway.cpus):
            stage = StageSpec(graph.name, node, root, node.batch, args.revision, args.tracing, keys)
            yield Served(graph.name, node, root, stage, keys)
        elif model_of(node.config) is not None:
            yield Served(graph.name, node, root, None, keys)


def inline_nodes(graph: FlatGraph, served: Iterable[str]) -> list[FlatNode]:
    """The nodes that are no servables: code that every gateway loads when it starts."""
    known = set(served)
    return [node for node in graph.all_nodes() if servable_name(graph.name, node.name) not in known]
