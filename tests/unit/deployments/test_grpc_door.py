"""The gRPC door behind a real gRPC server: codes, deadlines, cancellation, and graphs as metric labels."""

import asyncio
import math
import time
from typing import Any

import grpc
import pytest

from configs.errors import DeadlineExceeded, MillraceError, Overloaded
from deployments.answering import Answered, Answering
from deployments.protocols import grpc_pool
from deployments.protocols import v2_proto as v2
from graphs.terms import DEFAULT_PRIORITY, UNHURRIED, Terms
from tests.support.grpc_client import rpc
from tests.unit.deployments.doors import UNSENDABLE, gateway
from tests.unit.deployments.grpc_server import serving


def message(model: str = "g", shape: tuple[int, ...] = (1, 2), version: str = "", **parameters: int) -> Any:
    request = v2.ModelInferRequest(model_name=model, model_version=version, raw_input_contents=[b"\0" * 8])
    request.inputs.add(name="x", datatype="FP32", shape=shape)
    for name, value in parameters.items():
        request.parameters[name].int64_param = value
    return request


class Acting(Answering):
    """Notes each request's terms and whether it was cancelled; answers with `outcome`, or never."""

    def __init__(self, outcome: MillraceError | None = None) -> None:
        answering, counted = gateway()
        super().__init__(answering.services, answering.recorder)
        self.counted, self.outcome = counted, outcome
        self.terms: list[Terms] = []
        self.began, self.cancelled = asyncio.Event(), asyncio.Event()

    async def infer(self, service: Any, request: Any, terms: Terms = UNHURRIED) -> Answered:
        self.terms.append(terms)
        self.began.set()
        if self.outcome is not None:
            raise self.outcome
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError


async def infer(answering: Answering, request: Any, limit: int = 1000) -> Any:
    async with serving(answering, limit) as channel:
        return await rpc(channel, "ModelInfer")(request)


async def refused(answering: Answering, request: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await infer(answering, request)
    error: grpc.aio.AioRpcError = caught.value
    return error


async def test_answers() -> None:
    answering, counted = gateway()
    reply = await infer(answering, message())
    assert reply.raw_output_contents == [b"\0" * 8]
    assert (reply.model_name, reply.model_version) == ("g", "1")
    assert counted.requests == [("g", "v2-grpc", "OK")]


@pytest.mark.parametrize(
    ("request_", "code", "graph"),
    [
        (message(shape=(1, 3)), "INVALID_ARGUMENT", "g"),
        (message(model="made up"), "NOT_FOUND", ""),
        (message(version="9"), "NOT_FOUND", ""),
        (message(timeout=-1), "INVALID_ARGUMENT", "g"),
        (b"\xff\xff", "INVALID_ARGUMENT", ""),
        (b" " * 1001, "RESOURCE_EXHAUSTED", ""),
    ],
)
async def test_errors_are_counted_for_graphs_that_exist(request_: Any, code: str, graph: str) -> None:
    answering, counted = gateway()
    assert (await refused(answering, request_)).code() is getattr(grpc.StatusCode, code)
    assert counted.requests == [(graph, "v2-grpc", code)]


@pytest.mark.parametrize("kind", UNSENDABLE)
async def test_an_output_that_cannot_be_sent_is_the_nodes_error(kind: str) -> None:
    answering, counted = gateway(UNSENDABLE[kind])
    error = await refused(answering, message())
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "output 'x' cannot be sent" in (error.details() or "")
    assert counted.requests == [("g", "v2-grpc", "INTERNAL")]


async def test_an_error_that_nobody_foresaw_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    answering, counted = gateway()
    monkeypatch.setattr("deployments.protocols.v2_grpc.encode_infer", lambda *args: 1 / 0)
    error = await refused(answering, message())
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error (ZeroDivisionError); the server's log has the details"
    assert counted.requests == [("", "v2-grpc", "INTERNAL")]


async def test_when_to_try_again_is_told_to_machines_and_people() -> None:
    error = await refused(Acting(Overloaded("busy", 1.25)), message())
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
    metadata = dict(error.trailing_metadata())
    assert metadata["retry-after"] == "2"
    status = grpc_pool.message("google.rpc.Status").FromString(metadata["grpc-status-details-bin"])
    assert (status.code, status.message) == (8, "busy")
    [detail] = status.details
    assert detail.type_url == "type.googleapis.com/google.rpc.RetryInfo"
    delay = grpc_pool.message("google.rpc.RetryInfo").FromString(detail.value).retry_delay
    assert (delay.seconds, delay.nanos) == (1, 250_000_000)


async def test_other_errors_carry_no_details() -> None:
    error = await refused(Acting(DeadlineExceeded("late")), message())
    assert (error.code(), error.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "late")
    assert not {"retry-after", "grpc-status-details-bin"} & set(dict(error.trailing_metadata()))


@pytest.mark.parametrize(
    ("deadline", "metadata", "parameters", "left", "priority"),
    [
        (None, {}, {}, math.inf, DEFAULT_PRIORITY),
        (20.0, {}, {}, 20, DEFAULT_PRIORITY),
        (20.0, {}, {"timeout": 5_000_000, "priority": 2}, 5, 2),
        (20.0, {}, {"timeout": 50_000_000}, 20, DEFAULT_PRIORITY),
        (20.0, {"x-request-timeout-seconds": "7.5"}, {}, 7.5, DEFAULT_PRIORITY),
    ],
)
async def test_the_earliest_deadline_holds(
    deadline: float | None, metadata: dict[str, str], parameters: dict[str, int], left: float, priority: int
) -> None:
    acting, now = Acting(Overloaded("busy")), time.monotonic()
    async with serving(acting) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="busy"):
            await rpc(channel, "ModelInfer")(
                message(**parameters), timeout=deadline, metadata=tuple(metadata.items()) or None
            )
    [terms] = acting.terms
    assert terms.priority == priority
    assert terms.deadline - now == (math.inf if left == math.inf else pytest.approx(left, abs=2))


async def test_a_client_that_cancels_cancels_the_work() -> None:
    acting = Acting()
    async with serving(acting) as channel:
        call = rpc(channel, "ModelInfer")(message())
        async with asyncio.timeout(10):
            await acting.began.wait()
            call.cancel()
            await acting.cancelled.wait()


async def test_a_deadline_that_passes_cancels_the_work() -> None:
    acting = Acting()
    async with serving(acting) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc(channel, "ModelInfer")(message(), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        async with asyncio.timeout(10):
            await acting.cancelled.wait()


@pytest.mark.parametrize(
    ("model", "version", "ready"), [("g", "", True), ("g", "1", True), ("g", "3", False), ("made up", "", False)]
)
async def test_what_is_not_there_is_not_ready(model: str, version: str, ready: bool) -> None:
    async with serving(gateway()[0]) as channel:
        answer = await rpc(channel, "ModelReady")(v2.ModelReadyRequest(name=model, version=version))
    assert answer.ready is ready


async def test_what_a_server_tells_of_its_graphs() -> None:
    answering, counted = gateway()
    counted.statistics.answered("g", 0.5, 2, [])
    async with serving(answering) as channel:
        config = (await rpc(channel, "ModelConfig")(v2.ModelConfigRequest(name="g"))).config
        [model] = (await rpc(channel, "ModelStatistics")(v2.ModelStatisticsRequest())).model_stats
        [listed] = (await rpc(channel, "RepositoryIndex")(v2.RepositoryIndexRequest())).models
        server = await rpc(channel, "ServerMetadata")(b"")
        for call in ("ModelConfig", "ModelStatistics", "ModelMetadata"):
            with pytest.raises(grpc.aio.AioRpcError, match="unknown model"):
                await rpc(channel, call)(v2.ModelConfigRequest(name="made up"))  # all three have these fields
    assert (config.name, config.max_batch_size, list(config.input[0].dims)) == ("g", 16, [-1])
    assert (model.name, model.inference_count) == ("g", 2)
    assert (listed.name, listed.version, listed.state) == ("g", "1", "READY")
    assert {"classification", "statistics", "model_repository", "model_configuration"} <= set(server.extensions)


async def test_graphs_come_and_go_with_the_config() -> None:
    async with serving(gateway()[0]) as channel:
        load, unload = rpc(channel, "RepositoryModelLoad"), rpc(channel, "RepositoryModelUnload")
        await load(v2.RepositoryModelLoadRequest(model_name="g"))
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await load(v2.RepositoryModelLoadRequest(model_name="made up"))
        with pytest.raises(grpc.aio.AioRpcError) as stays:
            await unload(v2.RepositoryModelUnloadRequest(model_name="g"))
    assert unknown.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert stays.value.code() is grpc.StatusCode.UNIMPLEMENTED
