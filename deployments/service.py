"""One graph, ready to answer: its executor, its signature, its versions."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from configs.errors import InvalidInput, MillraceError
from configs.tensors import Rows, Signature
from deployments.naming import MODEL_HEADER, Naming, naming_of
from deployments.protocols.request import shown
from deployments.tracing import Tracing
from graphs.executor import Executor, PlacedCall, as_it_is
from graphs.flat import FlatGraph
from graphs.instances import Instance
from graphs.load import signature_of
from graphs.plan import compile_plan
from graphs.run import Trace
from graphs.terms import UNHURRIED, Terms
from servables.shelf import unknown
from servables.store import is_name

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
    """The graph's, under which everything is counted."""
    description: str
    signature: Signature
    signatures: dict[str, Signature]
    """Node → inputs and outputs of the version that answers."""
    executor: Executor
    naming: Naming | None = None
    """How a request may name one of many models beside its inputs."""
    model: str | None = None
    """The model that was named so: all rows are for it, and `signature` is without the input that would name it."""
    in_name: bool = False
    """Whether the caller named it in the graph's name."""

    @property
    def asked_as(self) -> str:
        """The name that the caller knows this by, for answers: `<graph>` or `<graph>.<model>`. No label of metrics."""
        return f"{self.name}.{self.model}" if self.in_name else self.name

    @property
    def decoupled(self) -> bool:
        """Whether one request may have several answers (Triton's word)."""
        return self.executor.plan.stream is not None

    def of(self, model: str) -> "GraphService":
        """This graph for one of its many models, which is named in its name. Raises NotFound for what is no name."""
        return replace(self._for(model), in_name=True)

    def by_header(self, model: str) -> "GraphService":
        """This graph for the model that the caller's header names.

        Raises:
            InvalidInput: the caller named another one in the graph's name.
            NotFound: it cannot be a name.
        """
        if self.model not in (None, model):
            raise InvalidInput(
                f"two models are named: {shown(self.model)} in {self.asked_as}, {shown(model)} in the header "
                f"{MODEL_HEADER}; name one"
            )
        return self if self.model == model else self._for(model)

    async def check_model(self) -> None:
        """Raises NotFound if the model that was named is not there, as far as this machine can tell."""
        if self.naming is not None and self.model is not None:
            await asyncio.to_thread(self.naming.check, f"{self.name}.{self.model}", self.model)

    async def infer(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> tuple[Rows, Trace]:
        """Outputs for checked inputs. Raises MillraceError, whose message is cut to `LONGEST_MESSAGE`."""
        with _cut_short():
            return await self.executor.run(self._complete(rows, count), count, terms)

    async def stream(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> AsyncGenerator[tuple[Rows, Trace]]:
        """All answers of a graph that gives several. Raises as `infer`."""
        with _cut_short():
            async with aclosing(self.executor.stream(self._complete(rows, count), count, terms)) as answers:
                async for answer in answers:
                    yield answer

    def _for(self, model: str) -> "GraphService":
        assert self.naming is not None
        if not is_name(model):
            raise unknown(f"{self.name}.{model}", f"{shown(model)} cannot be a model's name")
        return replace(self, model=model, signature=self.naming.signature)

    def _complete(self, rows: Rows, count: int) -> Rows:
        """The rows with the model's name, where no input gives it."""
        if self.naming is None or self.model is None:
            return rows
        return {**rows, self.naming.input: np.full(count, self.model.encode(), object)}


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
    config, signature = spec.flat.config, signature_of(plan, signatures)
    naming = naming_of(spec.flat, signature, spec.root)
    return GraphService(config.name, config.description, signature, signatures, executor, naming)


def _cut(message: str) -> str:
    """A node's own words may be of any length, and half of a surrogate pair."""
    encoded = message.encode(errors="backslashreplace")
    return encoded[:LONGEST_MESSAGE].decode(errors="ignore") + "…" * (len(encoded) > LONGEST_MESSAGE)
