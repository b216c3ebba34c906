"""The gRPC door as Serve calls it: codes, and graphs as metric labels."""

from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from deployments.answering import Answering
from deployments.grpc_door import GrpcDoor
from deployments.protocols.v2_proto import ModelInferRequest
from tests.unit.deployments.doors import UNSENDABLE, gateway


def message(model: str = "g", shape: tuple[int, ...] = (1, 2), version: str = "") -> bytes:
    request = ModelInferRequest(model_name=model, model_version=version, raw_input_contents=[b"\0" * 8])
    request.inputs.add(name="x", datatype="FP32", shape=shape)
    return bytes(request.SerializeToString())


async def infer(answering: Answering, request: bytes, limit: int = 1000) -> tuple[Any, str, Any]:
    """The code, its details, the reply."""
    door, seen = GrpcDoor(), SimpleNamespace(code=grpc.StatusCode.OK, details="")
    door.answering, door.server, door._max_request_bytes = answering, ("millrace", "1"), limit
    context: Any = SimpleNamespace(
        set_code=lambda code: setattr(seen, "code", code), set_details=lambda text: setattr(seen, "details", text)
    )
    reply = await door.ModelInfer(request, context)
    return seen.code, seen.details, reply


async def test_answers() -> None:
    answering, counted = gateway()
    code, _, reply = await infer(answering, message())
    assert code is grpc.StatusCode.OK
    assert reply.raw_output_contents == [b"\0" * 8]
    assert counted.requests == [("g", "v2-grpc", "OK")]


@pytest.mark.parametrize(
    ("request_", "code", "graph"),
    [
        (message(shape=(1, 3)), "INVALID_ARGUMENT", "g"),
        (message(model="made up"), "NOT_FOUND", ""),
        (message(version="9"), "NOT_FOUND", ""),
        (b"\xff\xff", "INVALID_ARGUMENT", ""),
        (b" " * 1001, "RESOURCE_EXHAUSTED", ""),
    ],
)
async def test_errors_are_counted_for_graphs_that_exist(request_: bytes, code: str, graph: str) -> None:
    answering, counted = gateway()
    assert (await infer(answering, request_))[0] is getattr(grpc.StatusCode, code)
    assert counted.requests == [(graph, "v2-grpc", code)]


@pytest.mark.parametrize("kind", UNSENDABLE)
async def test_an_output_that_cannot_be_sent_is_the_nodes_error(kind: str) -> None:
    answering, counted = gateway(UNSENDABLE[kind])
    code, details, _ = await infer(answering, message())
    assert code is grpc.StatusCode.INTERNAL
    assert "output 'x' cannot be sent" in details
    assert counted.requests == [("g", "v2-grpc", "INTERNAL")]


async def test_an_error_that_nobody_foresaw_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    answering, counted = gateway()
    monkeypatch.setattr("deployments.protocols.v2_grpc.encode_infer", lambda *args: 1 / 0)
    code, details, _ = await infer(answering, message())
    assert (code, details) == (
        grpc.StatusCode.INTERNAL,
        "internal error (ZeroDivisionError); the server's log has the details",
    )
    assert counted.requests == [("", "v2-grpc", "INTERNAL")]
