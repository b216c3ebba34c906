"""Where spans go: to a collector of OpenTelemetry's, or to the replica's standard output."""

import sys

from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from configs.errors import MissingExtra
from configs.serve import TracingArgs


def exporter(args: TracingArgs) -> SpanExporter:
    """The exporter that the args ask for. Raises MissingExtra."""
    return _otlp(args.endpoint) if args.exporter == "otlp" else ConsoleSpanExporter(out=sys.stdout, formatter=_line)


def _otlp(endpoint: str | None) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise MissingExtra("tracing with `exporter: otlp` needs pip install 'millrace[otlp]'") from None
    made: SpanExporter = OTLPSpanExporter(endpoint)
    return made


def _line(span: object) -> str:
    """One line of JSON: standard output of many replicas is mixed, line by line."""
    text: str = span.to_json(indent=None)  # type: ignore[attr-defined]
    return f"{text}\n"
