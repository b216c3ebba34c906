"""One graph, ready to answer: its executor, its signature, its versions."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.errors import MillraceError
from configs.tensors import Rows, Signature
from deployments.hop import StageCall
from deployments.stage import STAGE, StageDescription
from deployments.tracing import Tracing
from graphs.executor import Executor, as_it_is
from graphs.flat import FlatGraph
from graphs.load import load_inline, signature_of
from graphs.plan import compile_plan
from graphs.run import Trace
from graphs.terms import UNHURRIED, Terms
from servables.base import LoadOptions

LONGEST_MESSAGE = 2_000
"""Bytes of UTF-8 of an error for a caller: gRPC carries it in metadata, percent-encoded, of 8 KiB at most."""


@dataclass(frozen=True)
class GraphSpec:
    """A checked graph as it travels to the gateway's replicas."""

    flat: FlatGraph
    root: Path
    gateway_cpus: float
    threads: int


@dataclass(frozen=True)
class GraphService:
    """Answers requests of one graph."""

    name: str
    description: str
    signature: Signature
    versions: Mapping[str, str]
    """Node → version of its servable; nodes of code are absent."""
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


async def start_service(
    spec: GraphSpec, applications: Mapping[str, str], tracing: Tracing | None = None
) -> GraphService:
    """Load a graph's inline nodes, find its stages, type its edges.

    Args:
        applications: placed node → the Serve application that runs it.
        tracing: makes spans of its nodes.

    Raises:
        ConfigError, ModelError, MissingExtra: why the graph cannot be served.
    """
    plan = compile_plan(spec.flat, spec.gateway_cpus)
    handles = {node: serve.get_deployment_handle(STAGE, applications[node]) for node in plan.placed}
    described = await asyncio.gather(*(_describe(handle) for handle in handles.values()))
    stages = dict(zip(handles, described, strict=True))
    options = LoadOptions(threads=spec.threads)
    instances = await asyncio.to_thread(load_inline, plan, spec.root, options)
    signatures = {name: instance.signature for name, instance in instances.items()}
    signatures |= {name: stage.signature for name, stage in stages.items()}
    versions = {name: instance.version for name, instance in instances.items() if instance.version}
    versions |= {name: stage.version for name, stage in stages.items() if stage.version}
    placed = {
        node: StageCall(node, handle, spec.flat.nodes[node].config.idempotent) for node, handle in handles.items()
    }
    executor = Executor(
        plan,
        instances,
        placed,
        threads=spec.threads,
        signatures=signatures,
        versions=versions,
        around=tracing.steps(versions) if tracing is not None else as_it_is,
    )
    config = spec.flat.config
    return GraphService(config.name, config.description, signature_of(plan, signatures), versions, executor)


async def _describe(handle: DeploymentHandle) -> StageDescription:
    description: StageDescription = await handle.describe.remote()
    return description


def _cut(message: str) -> str:
    """A node's own words may be of any length, and half of a surrogate pair."""
    encoded = message.encode(errors="backslashreplace")
    return encoded[:LONGEST_MESSAGE].decode(errors="ignore") + "…" * (len(encoded) > LONGEST_MESSAGE)
