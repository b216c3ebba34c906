"""One graph, ready to answer: its executor, its signature, its versions."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from configs.errors import MillraceError
from configs.tensors import Rows, Signature
from deployments.tracing import Tracing
from graphs.executor import Executor, PlacedCall, as_it_is
from graphs.flat import FlatGraph
from graphs.instances import Instance
from graphs.load import signature_of
from graphs.plan import compile_plan
from graphs.run import Trace
from graphs.terms import UNHURRIED, Terms

LONGEST_MESSAGE = 2_000
"""Bytes of UTF-8 of an error for a caller: gRPC carries it in metadata, percent-encoded, of 8 KiB at most."""


@dataclass(frozen=True)
class GraphSpec:
    """A checked graph as it travels to the gateway's replicas."""

    flat: FlatGraph
    root: Path
    gateway_cpus: float
    threads: int


class Stage(Protocol):
    """A stage that answers."""

    @property
    def call(self) -> PlacedCall:
        """How it is called."""
        ...

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs."""
        ...


@dataclass(frozen=True)
class GraphService:
    """Answers requests of one graph."""

    name: str
    description: str
    signature: Signature
    signatures: dict[str, Signature]
    """Node → inputs and outputs of the version that answers."""
    executor: Executor

    @property
    def decoupled(self) -> bool:
        """Whether one request may have several answers (Triton's word)."""
        return self.executor.plan.stream is not None

    async def infer(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> tuple[Rows, Trace]:
        """Outputs for checked inputs. Raises MillraceError, whose message is cut to `LONGEST_MESSAGE`."""
        with _cut_short():
            return await self.executor.run(rows, count, terms)

    async def stream(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> AsyncGenerator[tuple[Rows, Trace]]:
        """All answers of a graph that gives several. Raises as `infer`."""
        with _cut_short():
            async with aclosing(self.executor.stream(rows, count, terms)) as answers:
                async for answer in answers:
                    yield answer


@contextmanager
def _cut_short() -> Iterator[None]:
    try:
        yield
    except MillraceError as error:
        error.args = (_cut(error.message), *error.args[1:])
        raise


def make_service(
    spec: GraphSpec,
    instances: Mapping[str, Instance],
    stages: Mapping[str, Stage],
    tracing: Tracing | None = None,
) -> GraphService:
    """Put a graph together.

    Args:
        instances: the nodes that are called here.
        stages: placed node → its stage.
        tracing: makes spans of its nodes.

    Raises:
        ConfigError: nodes that do not fit.
    """
    plan = compile_plan(spec.flat, spec.gateway_cpus)
    signatures = {name: instance.signature for name, instance in instances.items()}
    signatures |= {name: stage.signature for name, stage in stages.items()}
    executor = Executor(
        plan,
        instances,
        {node: stage.call for node, stage in stages.items()},
        threads=spec.threads,
        signatures=signatures,
        around=tracing.around if tracing is not None else as_it_is,
    )
    config = spec.flat.config
    return GraphService(config.name, config.description, signature_of(plan, signatures), signatures, executor)


def _cut(message: str) -> str:
    """A node's own words may be of any length, and half of a surrogate pair."""
    encoded = message.encode(errors="backslashreplace")
    return encoded[:LONGEST_MESSAGE].decode(errors="ignore") + "…" * (len(encoded) > LONGEST_MESSAGE)
