"""Spans of a whole server at a collector: over HTTP and gRPC, of a node in its own process, behind both proxies."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from tests.support.collector import Seen
from tests.support.grpc_client import TIMEOUT_S, infer_request, rpc
from tests.support.server import Server

SERVER, CLIENT = 2, 3
"""Kinds of spans in OTLP."""
EXPORTED_WITHIN_S = 20


def caller(sampled: str = "01") -> tuple[str, str]:
    """A new caller's span, and the id of its trace."""
    trace_id = secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-{sampled}", trace_id


def spans(server: Server, trace_id: str, count: int) -> dict[tuple[str, int], Seen]:
    """The spans of a trace, by name and kind, once so many have come."""
    server.wait(lambda: len(server.collector.of(trace_id)) >= count, EXPORTED_WITHIN_S, f"{count} spans were exported")
    return {(span.name, span.kind): span for span in server.collector.of(trace_id)}


def test_http(server: Server) -> None:
    parent, trace_id = caller()
    answer = server.request("/guarded", {"x": [[5, 6]]}, {"traceparent": parent, "tracestate": "rojo=1"})
    assert answer.status == 200
    found = spans(server, trace_id, 3)
    received = found["guarded", SERVER]
    assert answer.headers["traceparent"] == received.traceparent
    assert received.parent == parent
    assert (received.service, received.attributes["millrace.protocol"]) == ("millrace", "json")
    nodes = [span for (_, kind), span in found.items() if kind != SERVER]
    assert [span.parent for span in nodes] == [received.traceparent] * 2
    assert {span.name: span.events for span in nodes} == {"numbered": [], "broken": ["retry", "fallback"]}


def test_grpc_and_a_placed_node(server: Server, tmp_path: Path) -> None:
    parent, trace_id = caller()
    asked: Any = placed(tmp_path / "open")
    with grpc.insecure_channel(server.grpc) as channel:
        infer = rpc(channel, "ModelInfer")
        answer, call = infer.with_call(asked, timeout=TIMEOUT_S, metadata=(("traceparent", parent),))
    found = spans(server, trace_id, 3)
    received, node, stage = found["gated-placed", SERVER], found["wait", CLIENT], found["wait", SERVER]
    assert dict(call.trailing_metadata())["traceparent"] == received.traceparent
    assert [received.parent, node.parent, stage.parent] == [parent, received.traceparent, node.traceparent]
    index = [output.name for output in answer.outputs].index("pid")
    assert stage.process == np.frombuffer(answer.raw_output_contents[index], np.int64)[0] != node.process
    assert stage.service == "gated-placed.wait"
    assert stage.attributes["millrace.call_rows"] == 1
    assert stage.attributes["millrace.compute_ms"] > 0


def test_what_the_caller_does_not_trace_is_not_traced(server: Server) -> None:
    unsampled, trace_id = caller("00")
    told = server.request("/guarded", {"x": [[3, 4]]}, {"traceparent": unsampled}).headers["traceparent"]
    assert (told[3:35], told[-2:]) == (trace_id, "00")
    parent, later = caller()
    server.request("/guarded", {"x": [[3, 4]]}, {"traceparent": parent})
    spans(server, later, 3)
    assert not server.collector.of(trace_id)


def test_errors_are_in_the_log_with_their_trace(server: Server) -> None:
    parent, trace_id = caller()
    logs = server._ray_folder / "ray/session_latest/logs/serve"

    answer = server.request("/guarded", {"x": [[1]]}, {"traceparent": parent})
    assert (answer.status, answer.headers["traceparent"][3:35]) == (400, trace_id)

    def logged() -> bool:
        lines = "".join(path.read_text() for path in logs.glob("replica_millrace_gateway_*")).splitlines()
        return any(json.loads(line).get("trace_id") == trace_id for line in lines if trace_id in line)

    server.wait(logged, EXPORTED_WITHIN_S, "the log has the trace")


def placed(gate: Path) -> Any:
    name = os.fsencode(gate)
    return infer_request(
        "gated-placed", [("gate", "BYTES", [1], len(name).to_bytes(4, "little") + name), ("x", "FP32", [1], bytes(4))]
    )
