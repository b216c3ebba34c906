"""Spans of requests and of the nodes that they pass, for OpenTelemetry.

A door begins a request's span and makes it the current one; the executor's steps, hops and the log's records find it
there. Without `tracing` in the application's args, and without a tracer provider that others set up in this process (as
Ray Serve's own tracing does), there is no `Tracing` and nothing below is called.
"""

import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from configs.log import LOGGER
from configs.serve import TracingArgs
from configs.tensors import Rows
from deployments.exporters import exporter
from deployments.spans import Carried, context_of
from graphs.batcher import BatchTiming
from graphs.executor import StepCall
from graphs.flat import FALLBACK
from graphs.plan import DECIDE, Step, StepKind
from graphs.run import NodeTiming, Run, Trace

EXPORT_PERIOD_MS = 1000
"""How often finished spans are sent."""
_NODE_KINDS = {
    StepKind.ALONE: SpanKind.INTERNAL,
    StepKind.COROUTINE: SpanKind.INTERNAL,
    StepKind.PLACED: SpanKind.CLIENT,
}
"""Steps of one node, which can be current while it runs."""


class Tracing:
    """Makes the spans of one process.

    Args:
        provider: samples and exports.
        foreign: others set the provider up: a span of theirs that is current is a request's parent.
    """

    def __init__(self, provider: TracerProvider, foreign: bool = False) -> None:
        self._provider, self._foreign = provider, foreign
        self._tracer = provider.get_tracer("millrace", version("millrace"))

    def request(self, carried: Carried, protocol: str) -> Span:
        """Begin the span of a request, to be ended by who begins it. It has no name before the graph is known."""
        return self.called("request", carried, {"millrace.protocol": protocol})

    def called(self, name: str, carried: Carried, attributes: Mapping[str, str]) -> Span:
        """Begin the span of a call from another process."""
        return self._tracer.start_span(name, self._parent(carried), SpanKind.SERVER, attributes)

    def around(self, step: Step, call: StepCall) -> StepCall:
        """What an executor puts around its steps: a span for each node. A node that joins cases has none."""
        if step.kind is StepKind.FUSED:
            return self._fused(step, call)
        if step.kind in _NODE_KINDS:
            return self._alone(step.units[0], _NODE_KINDS[step.kind], call)
        return call

    async def streamed(
        self, node: str | None, answers: AsyncGenerator[tuple[Rows, Trace]]
    ) -> AsyncGenerator[tuple[Rows, Trace]]:
        """The answers to a request, with one span for all of those that a node yields; None: no node yields."""
        span: Span = trace.INVALID_SPAN
        count, seconds = 0, 0.0
        try:
            async with aclosing(answers):
                async for outputs, noted in answers:
                    computed_s = noted.nodes[-1].compute_s if node else 0.0
                    if node is not None and not count and trace.get_current_span().is_recording():
                        span = self._tracer.start_span(node, start_time=time.time_ns() - round(computed_s * 1e9))
                        span.add_event("first answer")
                    count, seconds = count + 1, seconds + computed_s
                    yield outputs, noted
        finally:
            span.set_attributes({"millrace.answers": count, "millrace.compute_ms": seconds * 1e3})
            span.end()

    def close(self) -> None:
        """Send what is left. Blocks."""
        if not self._foreign:
            self._provider.shutdown()

    def _parent(self, carried: Carried) -> Context | None:
        """None: whatever is current, which is a span of Ray Serve's."""
        if self._foreign and trace.get_current_span().get_span_context().is_valid:
            return None
        return context_of(carried)

    def _alone(self, name: str, kind: SpanKind, call: StepCall) -> StepCall:
        mine = (name, name + FALLBACK)

        async def traced(run: Run) -> None:
            if not trace.get_current_span().is_recording():
                await call(run)
                return
            with self._tracer.start_as_current_span(name, kind=kind, record_exception=False) as span:
                try:
                    await call(run)
                finally:
                    for node, event, times in list(run.trace.events):
                        if node == name:
                            span.add_event(event, {"millrace.times": times})
                    for timing in run.trace.nodes:
                        if timing.node in mine:
                            span.set_attributes(_attributes(timing))

        return traced

    def _fused(self, step: Step, call: StepCall) -> StepCall:
        """Spans are made when the step is over: while it runs, it may be shared with other requests."""
        mine = {unit.removesuffix(DECIDE) for unit in step.units}

        async def traced(run: Run) -> None:
            if not trace.get_current_span().is_recording():
                await call(run)
                return
            started = time.time_ns()
            try:
                await call(run)
            except Exception as error:
                span = self._tracer.start_span("+".join(step.units), start_time=started)
                span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
                span.end()
                raise
            self._tell([timing for timing in run.trace.nodes if timing.node in mine], started)

        return traced

    def _tell(self, timings: Iterable[NodeTiming], started: int) -> None:
        """One after another, as fused nodes run; models that ran side by side look as if they had waited."""
        for timing in timings:
            ended = started + round((timing.queue_s + timing.batch_s + timing.compute_s) * 1e9)
            attributes = _attributes(timing)
            self._tracer.start_span(timing.node, attributes=attributes, start_time=started).end(ended)
            started = ended


def start_tracing(args: TracingArgs | None, service: str) -> Tracing | None:
    """What makes this process's spans; None if nobody wants them.

    Where Ray Serve's tracing is on, or another that is set up in this process before, spans go its way too, and it
    decides what is sampled. Else the provider made here is also the one that user code finds.

    Args:
        service: `service.name` of the spans.

    Raises:
        MissingExtra: the exporter is not installed.
    """
    given = trace.get_tracer_provider()
    foreign = isinstance(given, TracerProvider)
    if args is None and not foreign:
        return None
    # A foreign one can be told apart from the placeholder that the API gives only by its class.
    provider = given if isinstance(given, TracerProvider) else _provider(args, service)
    if args is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter(args), schedule_delay_millis=EXPORT_PERIOD_MS))
    if not foreign:
        trace.set_tracer_provider(provider)
    logging.getLogger(LOGGER).addFilter(_with_trace)
    return Tracing(provider, foreign)


def computed(timing: BatchTiming) -> None:
    """Note on the current span how a stage computed its rows."""
    span = trace.get_current_span()
    for called, seconds in timing.compute_s.items() if span.is_recording() else ():
        queue_s, batch_s = timing.queue_s, timing.batch_s
        noted = NodeTiming(called.node, queue_s, batch_s, seconds, timing.rows, timing.leads, called.version)
        span.set_attributes(_attributes(noted))


def _provider(args: TracingArgs | None, service: str) -> TracerProvider:
    resource = Resource({"service.name": service, "host.name": socket.gethostname(), "process.pid": os.getpid()})
    return TracerProvider(ParentBasedTraceIdRatio(args.sample if args else 0), resource)


def _attributes(timing: NodeTiming) -> dict[str, str | float | bool]:
    told: dict[str, str | float | bool] = {
        "millrace.queue_ms": timing.queue_s * 1e3,
        "millrace.batch_ms": timing.batch_s * 1e3,
        "millrace.compute_ms": timing.compute_s * 1e3,
        "millrace.call_rows": timing.rows,
        "millrace.leads": timing.leads,
    }
    if timing.version:
        told["millrace.version"] = timing.version
    return told


def _with_trace(record: logging.LogRecord) -> bool:
    """The log's filter: gives each record the ids of the current span."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        record.trace_id, record.span_id = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return True
