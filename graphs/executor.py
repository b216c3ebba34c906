"""Run a plan for one request: steps in dependency order, independent ones at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from configs.errors import MillraceError, NodeError
from configs.tensors import Rows
from graphs.batcher import Batcher, BatchTiming
from graphs.flat import Edge
from graphs.frame import Frame
from graphs.instances import Instance
from graphs.plan import Plan, Step, StepKind
from graphs.segment import EdgeRows, Segment, checked, gather
from graphs.terms import UNHURRIED, Terms


@dataclass(slots=True)
class NodeTiming:
    """Where the time of one node went for one request, in seconds."""

    node: str
    queue_s: float
    batch_s: float
    compute_s: float
    rows: int
    """Rows in the call that this request shared."""
    leads: bool = True
    """Whether this request was the oldest of the call."""


@dataclass(slots=True)
class Trace:
    """What one run did."""

    nodes: list[NodeTiming] = field(default_factory=list)

    def add(self, timing: BatchTiming) -> None:
        """Note a batched call: waiting is counted once, at its first node."""
        queue_s, batch_s = timing.queue_s, timing.batch_s
        for node, seconds in timing.compute_s.items():
            self.nodes.append(NodeTiming(node, queue_s, batch_s, seconds, timing.rows, timing.leads))
            queue_s = batch_s = 0.0


class PlacedCall(Protocol):
    """How the executor reaches a placed node."""

    async def __call__(self, rows: Rows, count: int) -> tuple[Rows, BatchTiming]:
        """Outputs of the node for these rows."""
        ...


StepCall = Callable[[Frame, Trace], Awaitable[None]]


class Executor:
    """Runs requests through a plan. One event loop; safe for any number of concurrent requests.

    Args:
        instances: the loaded nodes that run in this process.
        placed: how to call each placed node.
        threads: threads for independent models of one step.
    """

    def __init__(
        self,
        plan: Plan,
        instances: Mapping[str, Instance],
        placed: Mapping[str, PlacedCall],
        *,
        threads: int = 1,
    ) -> None:
        self.plan = plan
        self._instances = instances
        self._placed = placed
        self._segments: list[Segment] = []
        self._batchers: list[Batcher[Edge]] = []
        self._calls = [self._bind(step, threads) for step in plan.steps]
        self._readers = [
            [i for i, step in enumerate(plan.steps) if need in step.needs] for need in range(len(plan.steps))
        ]
        self._outputs = plan.graph.outputs

    async def run(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> tuple[Rows, Trace]:
        """Answer one request.

        Args:
            rows: the graph's inputs, each with `count` rows.

        Raises:
            InvalidInput: a node refused the rows.
            NodeError: a node failed. What else was running for this request is cancelled.
        """
        frame = Frame(count, (), self.plan.cases, self.plan.scope_of)
        for name, value in rows.items():
            frame.put(Edge("", name), value)
        trace = Trace()
        if len(self._calls) == 1:
            await self._calls[0](frame, trace)
        else:
            await self._run_all(frame, trace)
        return {name: frame.get(edge, ()) for name, edge in self._outputs.items()}, trace

    def close(self) -> None:
        """Answer what is waiting, end the threads, close the nodes."""
        for batcher in self._batchers:
            batcher.close()
        for segment in self._segments:
            segment.close()
        for instance in self._instances.values():
            instance.close()

    @property
    def waiting(self) -> int:
        """Requests that wait for a busy model of this process."""
        return sum(batcher.waiting for batcher in self._batchers)

    async def _run_all(self, frame: Frame, trace: Trace) -> None:
        missing = [len(step.needs) for step in self.plan.steps]

        async def follow(index: int, group: asyncio.TaskGroup) -> None:
            if frame.count(self.plan.steps[index].scope):  # else no row goes this way
                await self._calls[index](frame, trace)
            ready = []
            for reader in self._readers[index]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    ready.append(reader)
            for other in ready[1:]:
                group.create_task(follow(other, group))
            if ready:
                await follow(ready[0], group)

        try:
            async with asyncio.TaskGroup() as group:
                for first in [index for index, step in enumerate(self.plan.steps) if not step.needs]:
                    group.create_task(follow(first, group))
        except BaseExceptionGroup as failed:
            raise _first(failed) from None

    def _bind(self, step: Step, threads: int) -> StepCall:
        match step.kind:
            case StepKind.FUSED:
                return self._bind_fused(step, threads)
            case StepKind.COROUTINE:
                return self._bind_coroutine(step)
            case StepKind.PLACED:
                return self._bind_placed(step)
            case StepKind.MERGE:
                return self._bind_merge(step)

    def _bind_fused(self, step: Step, threads: int) -> StepCall:
        segment = Segment(self.plan, step, self._instances, threads)
        batcher: Batcher[Edge] = Batcher(segment, self._max_rows(step), "+".join(step.units))
        self._segments.append(segment)
        self._batchers.append(batcher)

        async def call(frame: Frame, trace: Trace) -> None:
            count = frame.count(step.scope)
            arrays: EdgeRows = {edge: frame.get(edge, step.scope) for edge in step.reads}
            outputs, timing = await batcher(arrays, count)
            for edge, value in outputs.items():
                frame.put(edge, value)
            trace.add(timing)

        return call

    def _max_rows(self, step: Step) -> int:
        """The smallest limit among the step's nodes, or the graph's own."""
        nodes = (self.plan.graph.nodes.get(unit) for unit in step.units)
        limits = [node.config.batch.max_rows for node in nodes if node is not None and node.config.batch is not None]
        return min(limits, default=self.plan.graph.config.batch.max_rows)

    def _bind_coroutine(self, step: Step) -> StepCall:
        name = step.units[0]
        node, instance = self.plan.graph.nodes[name], self._instances[name]

        async def call(frame: Frame, trace: Trace) -> None:
            count = frame.count(step.scope)
            started = time.perf_counter()
            try:
                outputs = checked(instance, await instance.call(gather(node, frame, self.plan)), count)
            except (MillraceError, asyncio.CancelledError):
                raise
            except BaseException as error:  # the edge to user code, which may even exit: the event loop must go on
                raise NodeError(f"node {name} failed: {type(error).__name__}: {error}") from error
            _put(frame, name, outputs)
            trace.nodes.append(NodeTiming(name, 0.0, 0.0, time.perf_counter() - started, count))

        return call

    def _bind_placed(self, step: Step) -> StepCall:
        name = step.units[0]
        node, placed = self.plan.graph.nodes[name], self._placed[name]

        async def call(frame: Frame, trace: Trace) -> None:
            count = frame.count(step.scope)
            outputs, timing = await placed(gather(node, frame, self.plan), count)
            _put(frame, name, outputs)
            trace.add(timing)

        return call

    def _bind_merge(self, step: Step) -> StepCall:
        name = step.units[0]
        node = self.plan.graph.nodes[name]

        async def call(frame: Frame, trace: Trace) -> None:
            _put(frame, name, frame.merge(name, node.cases))

        return call


def _put(frame: Frame, node: str, outputs: Rows) -> None:
    for output, value in outputs.items():
        frame.put(Edge(node, output), value)


def _first(failed: BaseExceptionGroup) -> BaseException:
    """The error to answer with: the first that a node raised."""
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
