"""Spans: which there are, below which, what they say; over the doors, over a hop, of streams and of what fails."""

import asyncio
import json
import logging
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from configs.errors import InvalidInput, MissingExtra, Overloaded
from configs.node_options import Batch
from configs.serve import TracingArgs
from configs.tensors import Rows
from deployments import exporters, stage, tracing
from deployments.hop import StageCall
from deployments.routes import LocalGraph
from deployments.spans import Carried, carried_in, carried_out, context_of, current
from deployments.stage import Stage, StageSpec
from graphs.batcher import BatchTiming
from graphs.terms import Terms
from tests.support.graphs import NODES, add, plan
from tests.support.grpc_client import infer_request, rpc
from tests.unit.deployments.doors import call, chunk
from tests.unit.deployments.grpc_server import serving
from tests.unit.deployments.test_handles import served
from tests.unit.deployments.traced import CALLER, Spans, parent_of, traced_gateway, traceparent

BODY = b'{"x": [[1, 2]]}'
CHAIN = ({"a": add("x"), "b": add("a.y")}, {"y": "b.y"})
REQUEST = infer_request("t", [("x", "FP32", [1, 2], bytes(8))])
SEEN: list[Carried | None] = []


async def sees(x: np.ndarray) -> dict[str, np.ndarray]:
    """A coroutine node that looks for the current span."""
    SEEN.append(carried_out())
    return {"y": x}


def counts(x: np.ndarray) -> Generator[dict[str, np.ndarray], None, None]:
    """A node with three answers, which fails when it is told to."""
    for _ in range(3):
        SEEN.append(carried_out())
        yield {"y": x}
    if (x < 0).any():
        raise InvalidInput("negative")


def node(function: str, **fields: Any) -> dict[str, Any]:
    shape = {"y": "FP32[-1, 2]"}
    return {"call": f"{__name__}:{function}", "inputs": {"x": "x"}, "outputs": shape, **fields}


@pytest.fixture(autouse=True)
def fresh() -> None:
    SEEN.clear()


@pytest.fixture
def spans() -> Spans:
    return Spans()


async def post(answering: Any, parent: str = CALLER, body: bytes = BODY, path: str = "/t", **headers: str) -> Any:
    status, answered, _ = await call(
        answering, path, chunk(body), headers=({"traceparent": parent} if parent else {}) | headers
    )
    return status, answered.get(b"traceparent", b"").decode()


async def test_fused_nodes_are_children_of_the_request_one_after_another(spans: Spans) -> None:
    answering, _ = traced_gateway(spans, *CHAIN)
    status, told = await post(answering, tracestate="rojo=1,congo=2")
    server = spans.named("t")
    assert (status, told, parent_of(server)) == (200, traceparent(server), CALLER)
    assert server.kind is SpanKind.SERVER
    assert server.context.trace_state.to_header() == "rojo=1,congo=2"
    assert dict(server.attributes or {}) == {"millrace.protocol": "json", "millrace.graph": "t", "millrace.rows": 1}
    assert spans.children("t") == ["a", "b"]
    a, b = spans.named("a"), spans.named("b")
    assert server.start_time < a.start_time <= a.end_time == b.start_time <= b.end_time  # type: ignore[operator]
    queue, batch, compute, rows, leads, version = sorted_values(a)
    assert (rows, leads, version) == (1, True, "7")
    assert queue >= 0
    assert batch >= 0
    assert compute > 0
    lasted_ms = (a.end_time - a.start_time) / 1e6  # type: ignore[operator]
    assert lasted_ms == pytest.approx(queue + batch + compute, abs=0.001)


def sorted_values(span: Any) -> list[Any]:
    names = ("queue_ms", "batch_ms", "compute_ms", "call_rows", "leads", "version")
    return [span.attributes[f"millrace.{name}"] for name in names]


async def test_the_callers_flag_decides_and_else_the_share(spans: Spans) -> None:
    answering, _ = traced_gateway(spans, *CHAIN)
    status, told = await post(answering, CALLER[:-1] + "0")
    assert (status, told[:36], told[-2:]) == (200, CALLER[:36], "00")
    assert told[36:52] != CALLER[36:52]
    assert (await post(answering, ""))[1].endswith("-00")
    assert (await post(answering, "00-garbage"))[1].endswith("-00")
    assert not spans.all
    always = Spans(sample=1)
    answering, _ = traced_gateway(always, *CHAIN)
    assert (await post(answering, CALLER[:-1] + "0"))[1].endswith("-00")
    assert not always.all
    assert (await post(answering, "00-garbage"))[1] == traceparent(always.named("t"))
    assert always.named("t").parent is None


async def test_errors_are_the_requests_and_carry_its_span_back(spans: Spans) -> None:
    answering, counted = traced_gateway(spans, *CHAIN)
    status, told = await post(answering, body=b'{"x": [[1]]}')
    server = spans.named("request")  # no graph ran
    assert (status, told) == (400, traceparent(server))
    assert server.status.status_code is StatusCode.ERROR
    assert (server.attributes or {})["millrace.code"] == "400"
    assert counted.requests == [("t", "json", "400")]


async def test_a_failing_step_is_a_span_too(spans: Spans) -> None:
    fused = {"a": add("x"), "bad": {"call": NODES + "broken", "inputs": {"x": "a.y"}, "outputs": {"y": "FP32[-1, 2]"}}}
    answering, _ = traced_gateway(spans, fused, {"y": "bad.y"})
    assert (await post(answering))[0] == 500
    assert spans.children("t") == ["a+bad"]
    assert "out of order" in (spans.named("a+bad").status.description or "")
    assert (spans.named("t").attributes or {})["error.type"] == "NodeError"


async def test_a_nodes_policy_shows_as_events(spans: Spans) -> None:
    backed = {
        "call": NODES + "broken",
        "inputs": {"x": "x"},
        "outputs": {"y": "FP32[-1, 2]"},
        "retries": 1,
        "fallback": {"constant": {"y": [0.5, 0.5]}},
    }
    answering, _ = traced_gateway(spans, {"backed": backed}, {"y": "backed.y"})
    assert (await post(answering))[0] == 200
    found = spans.named("backed")
    assert [(event.name, dict(event.attributes or {})) for event in found.events] == [
        ("retry", {"millrace.times": 1}),
        ("fallback", {"millrace.times": 1}),
    ]
    assert found.status.status_code is StatusCode.UNSET


async def test_a_coroutine_runs_with_its_nodes_span_as_the_current_one(spans: Spans) -> None:
    answering, _ = traced_gateway(spans, {"n": node("sees")}, {"y": "n.y"})
    await post(answering, tracestate="rojo=1")
    assert [Carried(traceparent(spans.named("n")), "rojo=1")] == SEEN
    assert spans.children("t") == ["n"]
    await post(answering, CALLER[:-1] + "0")
    assert SEEN[1] is not None
    assert SEEN[1].traceparent.endswith("-00")


class Handle:
    """A stage's, without Serve between."""

    def __init__(self, reached: Stage) -> None:
        self.remote = reached.run

    def options(self, **_: Any) -> "Handle":
        return self


@pytest.fixture
def stage_call(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> StageCall:
    """A placed node `n`, which refuses negative rows."""
    monkeypatch.setattr(stage, "start_tracing", lambda args, service: spans.tracing)
    spec = StageSpec("t", plan(*PLACED).graph.nodes["n"], Path("/"), Batch())
    return StageCall("n", Handle(Stage(spec, 0)))  # type: ignore[arg-type]


REFUSES = {"call": NODES + "refuse_negative", "inputs": {"x": "x"}, "outputs": {"y": "FP32[-1, 2]"}, "isolate": True}
PLACED = ({"n": REFUSES}, {"y": "n.y"})


async def test_a_stages_span_is_below_its_nodes(spans: Spans, stage_call: StageCall) -> None:
    answering, _ = traced_gateway(spans, *PLACED, {"n": stage_call})
    assert (await post(answering))[0] == 200
    inner, outer, server = spans.all
    assert [parent_of(inner), parent_of(outer), parent_of(server)] == [traceparent(outer), traceparent(server), CALLER]
    assert [inner.kind, outer.kind] == [SpanKind.SERVER, SpanKind.CLIENT]
    assert (inner.attributes or {})["millrace.call_rows"] == 1
    assert (outer.attributes or {})["millrace.compute_ms"] == (inner.attributes or {})["millrace.compute_ms"]


async def test_a_stages_error_is_its_spans(spans: Spans, stage_call: StageCall) -> None:
    answering, _ = traced_gateway(spans, *PLACED, {"n": stage_call})
    assert (await post(answering, body=b'{"x": [[-1, 1]]}'))[0] == 400
    assert [span.status.status_code for span in spans.all] == [StatusCode.ERROR] * 3


async def test_grpc_gives_the_span_back_in_trailing_metadata(spans: Spans) -> None:
    answering, _ = traced_gateway(spans, *CHAIN)
    async with serving(answering) as channel:
        asked = rpc(channel, "ModelInfer")(REQUEST, metadata=(("traceparent", CALLER), ("tracestate", "rojo=1")))
        await asked
        trailing = dict(await asked.trailing_metadata())
    server = spans.named("t")
    assert trailing["traceparent"] == traceparent(server)
    assert (parent_of(server), server.context.trace_state.to_header()) == (CALLER, "rojo=1")
    assert spans.children("t") == ["a", "b"]


async def test_grpc_errors_keep_their_details_beside_it(spans: Spans) -> None:
    async def busy(rows: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
        raise Overloaded("busy", 1)

    answering, _ = traced_gateway(spans, *PLACED, {"n": busy})
    async with serving(answering) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpc(channel, "ModelInfer")(REQUEST, metadata=(("traceparent", CALLER),))
    trailing = dict(refused.value.trailing_metadata())
    assert trailing["retry-after"] == "1"
    assert trailing["traceparent"] == traceparent(spans.named("t"))


async def test_each_request_of_a_stream_has_a_span(spans: Spans) -> None:
    answering, _ = traced_gateway(spans, {"n": node("counts")}, {"y": "n.y"})
    bad = infer_request("nope", [], id_="bad")
    async with serving(answering) as channel:
        requests = rpc(channel, "ModelStreamInfer")(iter([REQUEST, bad]), metadata=(("traceparent", CALLER),))
        assert len([answer async for answer in requests]) == 4
    assert parent_of(spans.named("t")) == parent_of(spans.named("request")) == CALLER
    assert spans.named("request").status.status_code is StatusCode.ERROR
    assert (spans.named("n").attributes or {})["millrace.answers"] == 3
    assert [Carried(traceparent(spans.named("t")))] * 3 == SEEN


@pytest.mark.parametrize(("x", "code"), [(1, StatusCode.UNSET), (-1, StatusCode.ERROR)])
async def test_the_span_of_an_event_stream_ends_with_its_last_event(spans: Spans, x: int, code: StatusCode) -> None:
    inputs = {"x": "FP32[-1, 2]"}
    answering, counted = traced_gateway(spans, {"n": node("counts")}, {"y": "n.y"}, inputs=inputs)
    status, told = await post(answering, body=json.dumps({"x": [x, 1]}).encode(), path="/v2/models/t/generate_stream")
    assert (status, told) == (200, traceparent(spans.named("t")))
    assert spans.children("t") == ["n"]
    assert spans.named("t").status.status_code is code
    assert [event.name for event in spans.named("n").events] == ["first answer"]
    assert len(counted.requests) == 1
    assert not trace.get_current_span().get_span_context().is_valid


async def test_handles_bring_their_callers_span(spans: Spans) -> None:
    door, _ = served()
    door.answering.tracing = spans.tracing
    assert isinstance(await door.infer("g", {"x": np.ones((1, 1), np.float32)}, carried=Carried(CALLER)), dict)
    assert parent_of(spans.named("g")) == CALLER
    assert (spans.named("g").attributes or {})["millrace.protocol"] == "handle"


@pytest.mark.parametrize("ways", ["predict_async", "stream"])
async def test_a_custom_routes_graph_has_a_span_below_the_routes_caller(spans: Spans, ways: str) -> None:
    answering, _ = traced_gateway(spans, *CHAIN)
    client = LocalGraph(answering, "t", Terms(), Carried(CALLER))
    if ways == "stream":
        [answer] = [rows async for rows in client.stream(x=[[1, 2]])]
    else:
        answer = await client.predict_async(x=[[1, 2]])
    assert answer["y"].tolist() == [[3, 4]]
    assert parent_of(spans.named("t")) == CALLER
    assert spans.children("t") == ["a", "b"]


async def test_a_cancelled_request_says_so(spans: Spans) -> None:
    began = asyncio.Event()

    async def hang(rows: Rows, count: int, terms: Terms) -> tuple[Rows, BatchTiming]:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    answering, _ = traced_gateway(spans, *PLACED, {"n": hang})
    task = asyncio.create_task(post(answering))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert spans.named("t").status.description == "cancelled"
    assert spans.children("t") == ["n"]


async def test_a_span_that_others_made_is_the_parent_where_they_set_tracing_up() -> None:
    theirs = Spans(sample=1, foreign=True)
    answering, _ = traced_gateway(theirs, *CHAIN)
    with theirs.provider.get_tracer("serve").start_as_current_span("replica"):
        await post(answering)
    assert theirs.children("replica") == ["t"]


def test_repeated_headers_are_joined_so_two_parents_are_none() -> None:
    pairs = [("traceparent", CALLER), ("x", "1"), ("tracestate", "a=1"), ("tracestate", "b=2"), ("traceparent", CALLER)]
    assert carried_in(pairs[:-1]) == Carried(CALLER, "a=1,b=2")
    carried = carried_in((key.encode(), value.encode()) for key, value in pairs)
    assert not trace.get_current_span(context_of(carried)).get_span_context().is_valid


def test_the_log_tells_the_trace(spans: Spans) -> None:
    record = logging.LogRecord("n", logging.INFO, "", 0, "text", (), None)
    assert tracing._with_trace(record)
    assert not hasattr(record, "trace_id")
    with current(spans.tracing.request(Carried(CALLER), "json")):
        assert tracing._with_trace(record)
    assert record.trace_id == CALLER[3:35]


def test_without_a_config_there_is_nothing_to_trace() -> None:
    assert tracing.start_tracing(None, "millrace") is None


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(MissingExtra, match=r"millrace\[otlp\]"):
        exporters.exporter(TracingArgs(exporter="otlp"))


def test_the_console_has_a_line_for_each_span(capsys: pytest.CaptureFixture[str]) -> None:
    sampled = Spans(sample=1)
    with sampled.provider.get_tracer("t").start_as_current_span("a"):
        pass
    exporters.exporter(TracingArgs(exporter="console")).export(sampled.all)
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["name"] == "a"
