"""A collector of spans, as OpenTelemetry's over HTTP: keeps what it is sent."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """One span."""

    name: str
    kind: int
    traceparent: str
    parent: str
    """`traceparent` of the parent; empty for none."""
    attributes: dict[str, Any]
    events: list[str]
    service: str
    process: int


class Collector:
    """Listens on a free port until it is closed."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                spans.extend(_seen(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def of(self, trace_id: str) -> list[Seen]:
        """The spans of a trace, in the order of their arrival."""
        return [span for span in self.spans if trace_id in span.traceparent]


def _seen(message: Any) -> list[Seen]:
    return [
        Seen(
            span.name,
            span.kind,
            _traceparent(span.trace_id, span.span_id),
            _traceparent(span.trace_id, span.parent_span_id) if span.parent_span_id else "",
            _values(span.attributes),
            [event.name for event in span.events],
            _values(resource.resource.attributes)["service.name"],
            _values(resource.resource.attributes)["process.pid"],
        )
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _traceparent(trace_id: bytes, span_id: bytes) -> str:
    return f"00-{trace_id.hex()}-{span_id.hex()}-01"


def _values(attributes: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}
