"""Spans of a whole server at a collector: over HTTP and gRPC, of a node in its own process, behind both proxies."""

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.conftest import PROXIES
from tests.support.collector import Collector, Seen
from tests.support.grpc_client import TIMEOUT_S, infer_request, rpc
from tests.support.server import GRAPHS, Server

pytestmark = pytest.mark.timeout(420)
SERVER, CLIENT = 2, 3
"""Kinds of spans in OTLP."""
EXPORTED_WITHIN_S = 20


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module", params=PROXIES)
def traced(
    request: pytest.FixtureRequest, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of its own: the shared one does not trace."""
    server = Server(request.param, tmp_path_factory.mktemp("traced"))
    [application] = server.config["applications"]
    application["args"] |= {
        "graphs": [str(GRAPHS / f"{name}.yaml") for name in ("guarded", "gated-placed")],
        "routers": [],
        "tracing": {"exporter": "otlp", "endpoint": collector.url, "sample": 0},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE", "1")  # Serve else writes a thousand records at a time
        server.start()
    yield server
    server.stop()


def caller(sampled: str = "01") -> tuple[str, str]:
    """A new caller's span, and the id of its trace."""
    trace_id = secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-{sampled}", trace_id


def spans(server: Server, collector: Collector, trace_id: str, count: int) -> dict[tuple[str, int], Seen]:
    """The spans of a trace, by name and kind, once so many have come."""
    server.wait(lambda: len(collector.of(trace_id)) >= count, EXPORTED_WITHIN_S, f"{count} spans were exported")
    return {(span.name, span.kind): span for span in collector.of(trace_id)}


def test_http(traced: Server, collector: Collector) -> None:
    parent, trace_id = caller()
    answer = traced.request("/guarded", {"x": [[1, 2]]}, {"traceparent": parent, "tracestate": "rojo=1"})
    assert answer.status == 200
    found = spans(traced, collector, trace_id, 3)
    server = found["guarded", SERVER]
    assert answer.headers["traceparent"] == server.traceparent
    assert server.parent == parent
    assert (server.service, server.attributes["millrace.protocol"]) == ("millrace", "json")
    nodes = [span for (_, kind), span in found.items() if kind != SERVER]
    assert [span.parent for span in nodes] == [server.traceparent] * 2
    assert {span.name: span.events for span in nodes} == {"numbered": [], "broken": ["retry", "fallback"]}


def test_grpc_and_a_placed_node(traced: Server, collector: Collector, tmp_path: Path) -> None:
    parent, trace_id = caller()
    asked: Any = placed(tmp_path / "open")
    with grpc.insecure_channel(traced.grpc) as channel:
        infer = rpc(channel, "ModelInfer")
        answer, call = infer.with_call(asked, timeout=TIMEOUT_S, metadata=(("traceparent", parent),))
    found = spans(traced, collector, trace_id, 3)
    server, node, stage = found["gated-placed", SERVER], found["wait", CLIENT], found["wait", SERVER]
    assert dict(call.trailing_metadata())["traceparent"] == server.traceparent
    assert [server.parent, node.parent, stage.parent] == [parent, server.traceparent, node.traceparent]
    index = [output.name for output in answer.outputs].index("pid")
    assert stage.process == np.frombuffer(answer.raw_output_contents[index], np.int64)[0] != node.process
    assert stage.service == "gated-placed.wait"
    assert stage.attributes["millrace.call_rows"] == 1
    assert stage.attributes["millrace.compute_ms"] > 0


def test_what_the_caller_does_not_trace_is_not_traced(traced: Server, collector: Collector) -> None:
    unsampled, trace_id = caller("00")
    told = traced.request("/guarded", {"x": [[3, 4]]}, {"traceparent": unsampled}).headers["traceparent"]
    assert (told[3:35], told[-2:]) == (trace_id, "00")
    parent, later = caller()
    traced.request("/guarded", {"x": [[3, 4]]}, {"traceparent": parent})
    spans(traced, collector, later, 3)
    assert not collector.of(trace_id)


def test_errors_are_in_the_log_with_their_trace(traced: Server) -> None:
    parent, trace_id = caller()
    logs = traced._ray_folder / "ray/session_latest/logs/serve"

    answer = traced.request("/guarded", {"x": [[1]]}, {"traceparent": parent})
    assert (answer.status, answer.headers["traceparent"][3:35]) == (400, trace_id)

    def logged() -> bool:
        lines = "".join(path.read_text() for path in logs.glob("replica_millrace_gateway_*")).splitlines()
        return any(json.loads(line).get("trace_id") == trace_id for line in lines if trace_id in line)

    traced.wait(logged, EXPORTED_WITHIN_S, "the log has the trace")


def placed(gate: Path) -> Any:
    name = os.fsencode(gate)
    return infer_request(
        "gated-placed", [("gate", "BYTES", [1], len(name).to_bytes(4, "little") + name), ("x", "FP32", [1], bytes(4))]
    )
