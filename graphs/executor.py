"""Run a plan for one request: steps in dependency order, independent ones at the same time."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from configs.errors import DeadlineExceeded, MillraceError, NodeError, RowErrors, Unsupported
from configs.node_options import Batch
from configs.tensors import Rows, Signature, TensorSpec
from graphs.batcher import Batcher, BatchTiming, most_bytes
from graphs.flat import Edge, FlatNode
from graphs.frame import Frame
from graphs.instances import Instance
from graphs.plan import DECIDE, Plan, Step, StepKind
from graphs.policies import constant_call, guard
from graphs.run import Answer, Event, NodeCall, NodeTiming, Run, Trace
from graphs.segment import EdgeRows, Segment, blamed, checked, gather, timed_call
from graphs.slot import Called, Occupant, Slot
from graphs.stream import stream
from graphs.terms import UNHURRIED, Terms

T = TypeVar("T")


class PlacedCall(Protocol):
    """How the executor reaches a placed node."""

    @property
    def version(self) -> str:
        """Of the node's servable; empty for code."""
        ...

    async def __call__(self, rows: Rows, count: int, terms: Terms) -> Answer:
        """Outputs of the node for these rows."""
        ...


StepCall = Callable[[Run], Awaitable[None]]
Around = Callable[[Step, StepCall], StepCall]
"""What stands around the steps of a plan: given one and its call, the call in its place."""


def as_it_is(step: Step, call: StepCall) -> StepCall:
    """Nothing stands around a step."""
    return call


class Executor:
    """Runs requests through a plan. One event loop; safe for any number of concurrent requests.

    Args:
        instances: the loaded nodes that run in this process.
        placed: how to call each placed node.
        threads: threads for independent models of one step.
        signatures: of the placed nodes, as their stages tell.
        around: what stands around each step, such as what traces it.
    """

    def __init__(
        self,
        plan: Plan,
        instances: Mapping[str, Instance],
        placed: Mapping[str, PlacedCall],
        *,
        threads: int = 1,
        signatures: Mapping[str, Signature] | None = None,
        around: Around = as_it_is,
    ) -> None:
        self.plan = plan
        self.on_events: Callable[[Sequence[Event]], None] | None = None
        """Told what nodes' policies did for each request, also for one that fails."""
        self._signatures = {name: instance.signature for name, instance in instances.items()} | dict(signatures or {})
        self._slots = {name: Slot(instance) for name, instance in instances.items()}
        self._placed = {name: Slot(call) for name, call in placed.items()}
        self._segments: list[Segment] = []
        self._batchers: list[Batcher[Any]] = []
        self._calls = [around(step, self._bind(step, threads)) for step in plan.steps]
        self._readers = [
            [i for i, step in enumerate(plan.steps) if need in step.needs] for need in range(len(plan.steps))
        ]
        self._outputs = plan.graph.outputs

    async def run(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> tuple[Rows, Trace]:
        """Answer one request.

        Args:
            rows: the graph's inputs, each with `count` rows.
            terms: until when, and before whom.

        Raises:
            InvalidInput: a node refused the rows.
            NodeError: a node failed. What else was running for this request is cancelled.
            Overloaded: a node has so much to do that the rows would wait too long.
            DeadlineExceeded: the deadline passed. What has not begun is dropped.
        """
        if self.plan.stream is not None:
            raise Unsupported(
                f"graph {self.plan.graph.name} gives several answers; ask with generate_stream or ModelStreamInfer"
            )
        run = self._begin(rows, count, terms)
        await self._follow_in_time(run)
        return {name: run.frame.get(edge, ()) for name, edge in self._outputs.items()}, run.trace

    async def stream(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> AsyncGenerator[tuple[Rows, Trace]]:
        """All answers to one request: several from a graph whose last node is a generator, else one.

        Arguments and errors are those of `run`; the deadline is that of the last answer.
        """
        name = self.plan.stream
        if name is None:
            yield await self.run(rows, count, terms)
            return
        run = self._begin(rows, count, terms)
        await self._follow_in_time(run)
        started, node = time.perf_counter(), self.plan.graph.nodes[name]
        answers = stream(self._slots[name].content, gather(node, run.frame, self.plan))
        async with aclosing(answers):
            while (outputs := await self._in_time(anext(answers, None), terms)) is not None:
                seconds = time.perf_counter() - started
                run.trace.nodes.append(NodeTiming(name, 0.0, 0.0, seconds, count))
                yield {output: _part(name, edge, outputs) for output, edge in self._outputs.items()}, run.trace
                run.trace, started = Trace(), time.perf_counter()

    async def advance(self, frame: Frame) -> None:
        """Run the plan's steps on a frame that has all they read: what a batch job does with a part of a plan.

        Raises as `run`; the frame then has what some of the steps gave.
        """
        await self._follow(Run(frame, Trace(), UNHURRIED))

    def close(self) -> None:
        """Answer what is waiting, end the threads, close the nodes."""
        for batcher in self._batchers:
            batcher.close()
        for segment in self._segments:
            segment.close()
        for slot in self._slots.values():
            slot.content.close()

    def put(self, instance: Instance) -> Occupant[Instance]:
        """Let another version of a node of this process answer, from its next call on. Gives the one before."""
        return self._slots[instance.name].put(instance)

    def put_placed(self, node: str, call: PlacedCall) -> Occupant[PlacedCall]:
        """Let another version of a placed node answer, from the next request on. Gives the one before."""
        return self._placed[node].put(call)

    @property
    def waiting(self) -> int:
        """Requests that wait for a busy model of this process."""
        return sum(batcher.waiting for batcher in self._batchers)

    def _begin(self, rows: Rows, count: int, terms: Terms) -> Run:
        if terms.deadline != math.inf and terms.left_s <= 0:
            raise DeadlineExceeded(f"graph {self.plan.graph.name}: the deadline passed before the work began")
        frame = Frame(count, (), self.plan.cases, self.plan.scope_of)
        for name, value in rows.items():
            frame.put(Edge("", name), value)
        return Run(frame, Trace(), terms)

    async def _follow_in_time(self, run: Run) -> None:
        try:
            if run.terms.deadline == math.inf:
                await self._follow(run)
            else:
                await self._in_time(self._follow(run), run.terms)
        finally:
            if run.trace.events and self.on_events is not None:
                self.on_events(run.trace.events)

    async def _in_time(self, work: Awaitable[T], terms: Terms) -> T:
        try:
            async with asyncio.timeout(None if terms.deadline == math.inf else terms.left_s):
                return await work
        except TimeoutError:
            raise DeadlineExceeded(f"graph {self.plan.graph.name}: the deadline passed before the answer") from None

    async def _follow(self, run: Run) -> None:
        if len(self._calls) == 1:
            await self._calls[0](run)
        else:
            await self._follow_all(run)

    async def _follow_all(self, run: Run) -> None:
        missing = [len(step.needs) for step in self.plan.steps]

        async def follow(index: int, group: asyncio.TaskGroup) -> None:
            if run.frame.count(self.plan.steps[index].scope):  # else no row goes this way
                await self._calls[index](run)
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
        name = step.units[0]
        match step.kind:
            case StepKind.FUSED:
                return self._bind_fused(step, threads)
            case StepKind.MERGE:
                return self._bind_merge(step)
            case StepKind.ALONE:
                return self._bind_node(step, self._batched(self.plan.graph.nodes[name]))
            case StepKind.COROUTINE:
                return self._bind_node(step, _awaited(self._slots[name].content))
            case StepKind.STREAM:
                return _nothing  # `stream` runs it
            case StepKind.PLACED:
                return self._bind_node(step, _hop(self._placed[name]))

    def _bind_fused(self, step: Step, threads: int) -> StepCall:
        segment = Segment(self.plan, step, self._slots, threads)
        batches = [self.plan.graph.nodes[unit.removesuffix(DECIDE)].batch for unit in step.units]
        batcher: Batcher[Edge] = Batcher(segment, _strictest(batches), "+".join(step.units))
        self._segments.append(segment)
        self._batchers.append(batcher)

        async def call(run: Run) -> None:
            frame = run.frame
            arrays: EdgeRows = {edge: frame.get(edge, step.scope) for edge in step.reads}
            try:
                outputs, timing = await batcher(arrays, frame.count(step.scope), run.terms)
            except RowErrors as error:
                raise _of_the_request(error, frame, step) from error
            for edge, value in outputs.items():
                frame.put(edge, value)
            run.trace.add(timing)

        return call

    def _bind_node(self, step: Step, call: NodeCall) -> StepCall:
        """A step of one node, with the policies of its config."""
        name = step.units[0]
        node = self.plan.graph.nodes[name]
        guarded = guard(call, name, node.config, partial(self._version, name), self._fallback(node))

        async def call_step(run: Run) -> None:
            rows, count = gather(node, run.frame, self.plan), run.frame.count(step.scope)
            try:
                outputs, timing = await guarded(rows, count, run)
            except RowErrors as error:
                raise _of_the_request(error, run.frame, step) from error
            for output, value in outputs.items():
                run.frame.put(Edge(name, output), value)
            run.trace.add(timing)

        return call_step

    def _version(self, node: str) -> str:
        return (self._placed.get(node) or self._slots[node]).content.version

    def _batched(self, node: FlatNode) -> NodeCall:
        """The call of a synchronous node in a thread of its own."""
        call_batch = timed_call(self._slots[node.name])
        batcher: Batcher[str] = Batcher(call_batch, node.batch, node.name, most_bytes(node.config))
        self._batchers.append(batcher)

        async def call(rows: Rows, count: int, run: Run) -> Answer:
            return await batcher(rows, count, run.terms)

        return call

    def _fallback(self, node: FlatNode) -> NodeCall | None:
        if node.fallback is not None:
            return self._batched(node.fallback)
        given = node.config.fallback
        return constant_call(node.name, given.constant, self._outputs_of(node)) if given and given.constant else None

    def _outputs_of(self, node: FlatNode) -> Mapping[str, TensorSpec]:
        return self._signatures.get(node.name, Signature()).outputs or node.config.outputs or {}

    def _bind_merge(self, step: Step) -> StepCall:
        name = step.units[0]
        node = self.plan.graph.nodes[name]

        async def call(run: Run) -> None:
            for output, value in run.frame.merge(name, node.cases).items():
                run.frame.put(Edge(name, output), value)

        return call


def _of_the_request(error: RowErrors, frame: Frame, step: Step) -> RowErrors:
    """Rows that a step calls bad are its own, as those of a switch's case: which are they of the request's?"""
    return error.at(frame.rows(step.scope).tolist())


def _strictest(batches: Sequence[Batch]) -> Batch:
    """One setting that keeps the limits of all nodes of a step."""
    return Batch(
        max_rows=min(batch.max_rows for batch in batches),
        p99_ms=min((batch.p99_ms for batch in batches if batch.p99_ms), default=None),
        max_wait_s=min(batch.max_wait_s for batch in batches),
    )


def _awaited(instance: Instance) -> NodeCall:
    """The call of a coroutine node, on the event loop."""

    async def call(rows: Rows, count: int, run: Run) -> Answer:
        started = time.perf_counter()
        try:
            outputs = checked(instance, await instance.call(rows), count)
        except RowErrors as error:
            raise blamed(instance, error, count) from error
        except MillraceError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The node's own doing: nobody cancelled the request, which would wait for ever for what this step gives.
            raise NodeError(f"node {instance.name} failed: it cancelled itself") from None
        except BaseException as error:  # the edge to user code, which may even exit: the event loop must go on
            raise NodeError(f"node {instance.name} failed: {type(error).__name__}: {error}") from error
        seconds = {Called(instance.name, instance.version): time.perf_counter() - started}
        return outputs, BatchTiming(0.0, 0.0, seconds, count)

    return call


async def _nothing(run: Run) -> None:
    pass


def _part(node: str, edge: Edge, outputs: Rows) -> np.ndarray:
    if edge.output not in outputs:
        raise NodeError(f"node {node} did not return {edge.output}, which the graph reads")
    return outputs[edge.output]


def _hop(slot: Slot[PlacedCall]) -> NodeCall:
    async def call(rows: Rows, count: int, run: Run) -> Answer:
        with slot.used() as placed:
            return await placed(rows, count, run.terms)

    return call


def _first(failed: BaseExceptionGroup) -> BaseException:
    """The error to answer with: the first that a node raised."""
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
