"""A placed node in a process of its own: loads it, batches its calls."""

import asyncio
import hashlib
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ray import serve

from configs.errors import MillraceError
from configs.graph import CallNode, ModelsNode
from configs.node_options import Batch, Replicas, Sequences
from configs.serve import TracingArgs
from configs.tensors import Rows, Signature
from deployments.niceness import yielding
from deployments.pool_metrics import PoolMetrics
from deployments.settings import FRONT_OPTIONS, STICKY, stage_options
from deployments.spans import Carried, ending, failed
from deployments.tracing import Tracing, computed, start_tracing
from graphs.batcher import Batcher, BatchTiming, most_bytes
from graphs.flat import FlatNode
from graphs.instances import load_instance
from graphs.many import ManyModels
from graphs.segment import timed_call
from graphs.sequences import STATES, Sequence, SequenceStates, restoring
from graphs.slot import Slot
from graphs.terms import DEFAULT_PRIORITY, Terms
from rollouts.life import Key
from servables.base import LoadOptions

STAGE = "stage"
"""Name of the deployment that is the stage."""

DIGEST_LENGTH = 12
"""Hexadecimal digits of a version's digest in the name of its application, and wherever versions are told apart."""

Answer = tuple[Rows, BatchTiming] | MillraceError
"""A stage returns its errors: raised through a handle they would arrive wrapped, with a stack trace."""


@dataclass(frozen=True)
class StageSpec:
    """Everything that decides a stage, but the version that it serves."""

    graph: str
    node: FlatNode
    root: Path
    batch: Batch
    revision: str = ""
    """Of the serve config: changed by a user whose code changed while everything else stayed."""

    tracing: TracingArgs | None = None
    keys: tuple[str, ...] = ()
    """Ed25519 public keys in PEM, one of which must have signed the version."""

    @property
    def cpus(self) -> float:
        """CPUs that Ray books for each replica."""
        return self.node.config.cpus or 1.0

    @property
    def gpus(self) -> float:
        """GPUs that Ray books for each replica; below 1 it is also the share of GPU memory."""
        return self.node.config.gpus

    @property
    def load_options(self) -> LoadOptions:
        """How the stage loads its servable."""
        device = "cuda:0" if self.gpus else "cpu"
        threads = max(1, math.floor(self.cpus))
        return LoadOptions(device=device, gpu_fraction=min(self.gpus, 1.0), threads=threads, keys=self.keys)

    @property
    def sequences(self) -> Sequences | None:
        """The state that the node keeps; requests of one sequence must then go to one replica."""
        return self.node.config.sequences if isinstance(self.node.config, CallNode) else None

    def digest(self, fingerprint: str) -> str:
        """Of all that decides a stage which serves a version of this content, in hexadecimal."""
        # Which versions are in says nothing about any of them.
        config = self.node.config.model_dump_json(by_alias=True, exclude={"version", "versions"})
        # What is sampled is the gateway's to decide: another share needs no other stage.
        spans = self.tracing and self.tracing.model_dump_json(exclude={"sample"})
        parts = (fingerprint, config, str(self.root), self.batch.model_dump_json(), self.revision, spans, *self.keys)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def application_of(owner: str, key: Key) -> str:
    """Name of the Serve application that is the stage of a version."""
    return f"{owner}.{key.servable}.{key.number}-{key.digest}"


def version_of(owner: str, application: str) -> Key | None:
    """The version whose stage a Serve application is; None if it is no stage of this owner's."""
    pattern = rf"{re.escape(owner)}\.([\w-]+\.[\w-]+)\.(\d+)-([0-9a-f]{{{DIGEST_LENGTH}}})"
    found = re.fullmatch(pattern, application, re.ASCII)
    return Key(found[1], int(found[2]), found[3]) if found else None


@dataclass(frozen=True)
class StageDescription:
    """What a gateway must know of a running stage."""

    signature: Signature
    version: str


class StageBase:
    """What every stage does: answers within the caller's terms, tells what it is. Reached by handle."""

    _name: str
    _description: StageDescription
    _compute: Callable[[Rows, int, Terms], Awaitable[tuple[Rows, BatchTiming]]]
    _tracing: Tracing | None
    _states: SequenceStates | None = None

    async def run(
        self,
        rows: Rows,
        count: int,
        left_s: float = math.inf,
        priority: int = DEFAULT_PRIORITY,
        sequence: Sequence | None = None,
        carried: Carried | None = None,
    ) -> Answer:
        """Outputs of the node for `count` rows, or the error that the node answers with.

        Args:
            left_s: seconds until the caller's deadline; clocks of two machines differ.
            priority: the caller's.
            sequence: what the caller's request is part of, for a node with state.
            carried: the caller's span.
        """
        terms = Terms.within(left_s, priority)
        if carried is None or self._tracing is None:
            return await self._run(rows, count, terms, sequence)
        with ending(self._tracing.called(self._name, carried, {"millrace.stage": self._name})):
            return await self._run(rows, count, terms, sequence)

    async def _run(self, rows: Rows, count: int, terms: Terms, sequence: Sequence | None) -> Answer:
        try:
            if self._states is not None:
                rows = {**rows, STATES: np.array([self._states.of(sequence)] * count, object)}
            outputs, timing = await self._compute(rows, count, terms)
        except MillraceError as error:
            failed(error, error.grpc_code)
            return error
        if self._states is not None:
            self._states.answered(sequence)
        if self._tracing is not None:
            computed(timing)
        return outputs, timing

    async def describe(self) -> StageDescription:
        """The loaded node's signature and version."""
        return self._description

    async def check_health(self) -> None:
        """Called by Serve on the event loop: an answer proves that the loop runs."""


class Stage(StageBase):
    """One node, loaded and warmed up in `__init__`."""

    def __init__(self, spec: StageSpec, number: int, content: str = "") -> None:
        with yielding():
            self._instance = load_instance(spec.node, spec.root, spec.load_options, number, content)
            self._instance.warmup()
        self._name = spec.node.name
        self._description = StageDescription(self._instance.signature, self._instance.version)
        self._tracing = start_tracing(spec.tracing, f"{spec.graph}.{spec.node.name}")
        sequences = spec.sequences
        self._states = SequenceStates(sequences.idle_s, sequences.max_open) if sequences else None
        call = timed_call(Slot(self._instance))
        self._compute = self._batcher = Batcher(
            restoring(call) if sequences else call,
            spec.batch,
            spec.node.name,
            most_bytes(spec.node.config),
        )

    def __del__(self) -> None:
        """Called by Serve when the replica stops, after its requests are answered."""
        self._batcher.close()
        self._instance.close()
        if self._tracing is not None:
            self._tracing.close()


class ModelsStage(StageBase):
    """One node of many models, loaded when they are asked for."""

    async def __init__(self, spec: StageSpec) -> None:  # type: ignore[misc]
        self._name = spec.node.name
        self._models = self._compute = ManyModels(spec.node, spec.root, spec.load_options)
        self._tracing = start_tracing(spec.tracing, f"{spec.graph}.{spec.node.name}")
        with yielding():
            self._description = StageDescription(await self._models.signature(), "")
        self._metrics = PoolMetrics(spec.graph, spec.node.name, self._models)
        self._tasks = [asyncio.create_task(each.follow()) for each in (self._models, self._metrics)]

    async def __del__(self) -> None:
        """Called by Serve when the replica stops, after its requests are answered."""
        for task in getattr(self, "_tasks", ()):  # absent, as what follows, if __init__ failed
            task.cancel()
        if (models := getattr(self, "_models", None)) is not None:
            await models.close()
        if (tracing := getattr(self, "_tracing", None)) is not None:
            await asyncio.to_thread(tracing.close)


class _Front:
    """The root of an application whose stage has a request router: behind HAProxy Serve allows none at a root."""

    def __init__(self, stage: object) -> None: ...

    async def check_health(self) -> None:
        """Called by Serve."""


def stage_application(spec: StageSpec, number: int, content: str = "") -> serve.Application:
    """The Serve application of a version of a placed node. Its deployment `STAGE` is the stage.

    Args:
        content: what the version must be, if it is fetched; see `servables.sources.base`.
    """
    replicas = spec.node.config.replicas or Replicas()
    router = _router(spec) if replicas.max > 1 else None
    options = stage_options(replicas, spec.cpus, spec.gpus, router)
    if isinstance(spec.node.config, ModelsNode):
        stage = serve.deployment(ModelsStage, name=STAGE).options(**options).bind(spec)
    else:
        stage = serve.deployment(Stage, name=STAGE).options(**options).bind(spec, number, content)
    return serve.deployment(_Front, name="front").options(**FRONT_OPTIONS).bind(stage) if router else stage


def _router(spec: StageSpec) -> str | None:
    """Serve's request router, where it matters which replica answers; None: any."""
    if isinstance(spec.node.config, ModelsNode):
        return "deployments.ring_router:RingRouter"
    return STICKY if spec.sequences is not None else None
