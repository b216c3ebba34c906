"""One graph, ready to answer: its executor, its signature, its versions."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from configs.errors import MillraceError, Unavailable
from configs.tensors import Rows, Signature
from deployments.settings import LOGGER
from deployments.stage import StageDescription
from graphs.batcher import BatchTiming
from graphs.executor import Executor, Trace
from graphs.flat import FlatGraph
from graphs.load import load_inline, signature_of
from graphs.plan import compile_plan
from servables.base import LoadOptions

logger = logging.getLogger(LOGGER)

TRIES = 3
"""Calls of a stage for one request: nodes are idempotent, so what a dying replica held is sent elsewhere."""


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

    async def infer(self, rows: Rows, count: int) -> tuple[Rows, Trace]:
        """Outputs for checked inputs."""
        return await self.executor.run(rows, count)


class StageCall:
    """Calls a stage by handle, straight to a replica over gRPC."""

    def __init__(self, node: str, handle: DeploymentHandle) -> None:
        self._node = node
        # Arrays go in the message: by reference they would pass through the object store, which costs more.
        self._run = handle.options(
            method_name="run", _by_reference=False, request_serialization="pickle", response_serialization="pickle"
        )

    async def __call__(self, rows: Rows, count: int) -> tuple[Rows, BatchTiming]:
        """Outputs of the node. Raises what the node answers with, or Unavailable."""
        for attempt in range(1, TRIES + 1):
            try:
                answer = await self._run.remote(rows, count)
            except (RayError, RayServeException, OSError) as error:
                logger.warning("node %s: try %d of %d failed: %s", self._node, attempt, TRIES, type(error).__name__)
                last = error
                await asyncio.sleep(0.05 * attempt)
                continue
            if isinstance(answer, MillraceError):
                raise answer
            return answer  # type: ignore[no-any-return]
        raise Unavailable(f"node {self._node}: no replica answered in {TRIES} tries ({type(last).__name__})")


async def start_service(spec: GraphSpec, applications: Mapping[str, str]) -> GraphService:
    """Load a graph's inline nodes, find its stages, type its edges.

    Args:
        applications: placed node → the Serve application that runs it.

    Raises:
        ConfigError, ModelError, MissingExtra: why the graph cannot be served.
    """
    plan = compile_plan(spec.flat, spec.gateway_cpus)
    handles = {node: serve.get_app_handle(applications[node]) for node in plan.placed}
    described = await asyncio.gather(*(_describe(handle) for handle in handles.values()))
    stages = dict(zip(handles, described, strict=True))
    options = LoadOptions(threads=spec.threads)
    instances = await asyncio.to_thread(load_inline, plan, spec.root, options)
    signatures = {name: instance.signature for name, instance in instances.items()}
    signatures |= {name: stage.signature for name, stage in stages.items()}
    versions = {name: instance.version for name, instance in instances.items() if instance.version}
    versions |= {name: stage.version for name, stage in stages.items() if stage.version}
    placed = {node: StageCall(node, handle) for node, handle in handles.items()}
    executor = Executor(plan, instances, placed, threads=spec.threads)
    config = spec.flat.config
    return GraphService(config.name, config.description, signature_of(plan, signatures), versions, executor)


async def _describe(handle: DeploymentHandle) -> StageDescription:
    description: StageDescription = await handle.describe.remote()
    return description
