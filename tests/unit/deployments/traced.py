"""A gateway whose spans stay in memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import format_span_id, format_trace_id

from configs.tensors import Signature
from deployments.answering import Answering
from deployments.recorder import Recorder
from deployments.service import GraphService
from deployments.tracing import Tracing
from graphs.executor import Executor, PlacedCall
from graphs.load import signature_of
from servables.base import LoadOptions
from tests.support.graphs import load_inline, plan
from tests.unit.deployments.doors import Counted

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Spans:
    """What was exported."""

    def __init__(self, sample: float = 0, foreign: bool = False) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(ParentBasedTraceIdRatio(sample))
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(self.provider, foreign)

    @property
    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        [span] = [span for span in self.all if span.name == name]
        return span

    def children(self, name: str) -> list[str]:
        """Names of the spans below one, in the order of their starts."""
        parent = traceparent(self.named(name))
        below = [span for span in self.all if span.parent is not None and parent_of(span) == parent]
        return [span.name for span in sorted(below, key=lambda span: span.start_time or 0)]


def traceparent(span: ReadableSpan) -> str:
    return _text(span.context)


def parent_of(span: ReadableSpan) -> str:
    return "" if span.parent is None else _text(span.parent)


def _text(context: Any) -> str:
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"


def traced_gateway(
    spans: Spans, nodes: dict[str, Any], outputs: dict[str, str], placed: dict[str, PlacedCall] | None = None, **of: Any
) -> tuple[Answering, Counted]:
    """The graph `t` with the input `x`, FP32 of two columns."""
    compiled = plan(nodes, outputs, **of)
    loaded = load_inline(compiled, Path.cwd(), LoadOptions())
    instances = {name: replace(instance, version="7") for name, instance in loaded.items()}
    signatures = {name: instance.signature for name, instance in instances.items()}
    signatures |= {name: Signature(outputs=compiled.graph.nodes[name].config.outputs) for name in placed or {}}
    runner = Executor(compiled, instances, placed or {}, signatures=signatures, around=spans.tracing.around)
    service = GraphService("t", "", signature_of(compiled, signatures), signatures, runner)
    counted = Counted()
    return Answering({"t": service}, cast(Recorder, counted), spans.tracing), counted
