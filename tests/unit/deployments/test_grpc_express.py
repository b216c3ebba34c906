"""The short way behind Serve's own gRPC server: what Serve's replica hears of a call, and what goes Serve's way."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from ray.serve._private.grpc_util import gRPCGenericServer
from ray.serve._private.proxy_request_response import gRPCStreamingType
from ray.serve._private.utils import Semaphore
from ray.serve.context import _get_serve_request_context

from configs.errors import Overloaded
from deployments import grpc_express
from deployments.answering import Answered, Answering
from deployments.protocols import grpc_pool
from deployments.protocols.v2_proto import SERVICE, add_servicer
from tests.support.grpc_client import rpc
from tests.unit.deployments.doors import gateway
from tests.unit.deployments.grpc_server import channel_to, door
from tests.unit.deployments.test_grpc_door import Acting, message
from tests.unit.deployments.test_grpc_stream import Streaming, ask

INFER, STREAM = f"/{SERVICE}/ModelInfer", f"/{SERVICE}/ModelStreamInfer"
HealthRequest = grpc_pool.message("grpc.health.v1.HealthCheckRequest")
Ask = grpc_pool.message("grpc.reflection.v1.ServerReflectionRequest")


class Replica:
    """What the short way uses of Serve's; a call that goes Serve's way is answered with nothing and noted."""

    def __init__(self, user_callable: Any, slots: int = 1, timeout_s: float | None = None) -> None:
        self._event_loop = asyncio.get_running_loop()
        self._user_callable_wrapper = SimpleNamespace(user_callable=user_callable, event_loop=self._event_loop)
        self._grpc_options = SimpleNamespace(request_timeout_s=timeout_s)
        self._deployment_id = SimpleNamespace(name="gateway", app_name="app")
        self._semaphore = Semaphore(lambda: slots)
        self._metrics_manager = self
        self.ongoing: Counter[str] = Counter()
        self.counted: list[tuple[str, str, bool]] = []
        self.served: list[str] = []
        self.cancelled: list[str] = []
        self.raised: list[str | None] = []

    def handlers(self, service_method: str, streaming_type: gRPCStreamingType) -> Any:
        async def unary(request: Any, context: Any) -> bytes:
            self.served.append(service_method)
            return b""

        async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
            self.served.append(service_method)
            yield b""

        return unary if streaming_type is gRPCStreamingType.UNARY_UNARY else stream

    def _make_grpc_input_stream(self, requests: Any) -> tuple[Any, None]:
        return requests, None

    def inc_num_ongoing_requests(self, metadata: Any) -> None:
        self.ongoing[metadata.protocol] += 1

    def dec_num_ongoing_requests(self, metadata: Any) -> None:
        self.ongoing[metadata.protocol] -= 1

    def _on_request_cancelled(self, metadata: Any, error: BaseException) -> None:
        self.cancelled.append(metadata.internal_request_id)

    def record_request_metrics(self, *, route: str, exception_type: str | None, is_error: bool, **_: float) -> None:
        assert (route, is_error) == ("app", exception_type is not None)
        self.raised.append(exception_type)

    def record_ingress_request_metrics(self, *, method: str, status_code: str, is_error: bool, **labels: Any) -> None:
        assert (labels["route"], labels["app_name"], labels["deployment_name"]) == ("app", "app", "gateway")
        self.counted.append((method, status_code, is_error))


class Asked(Answering):
    """Notes what Serve's context says while a request runs."""

    def __init__(self, replica_ongoing: Any) -> None:
        answering, _ = gateway()
        super().__init__(answering.services, answering.recorder)
        self.replica_ongoing = replica_ongoing
        self.seen: list[tuple[str, str, dict[str, int]]] = []

    async def infer(self, *arguments: Any) -> Answered:
        context = _get_serve_request_context()
        self.seen.append((context.request_id, context.app_name, dict(self.replica_ongoing())))
        return await super().infer(*arguments)


@asynccontextmanager
async def serving(replica: Replica) -> AsyncIterator[grpc.aio.Channel]:
    server = gRPCGenericServer(replica.handlers)
    add_servicer(SimpleNamespace(**dict.fromkeys(methods())), server)
    async with channel_to(server) as channel:
        yield channel


def methods() -> Iterator[str]:
    for service in grpc_pool.SERVICES:
        yield from grpc_pool.service(service).methods_by_name


def all_free(replica: Replica) -> bool:
    return not +replica.ongoing and replica._semaphore._value == 0


@pytest.mark.parametrize("given", ["", "mine-1"])
async def test_serve_knows_of_a_call_and_its_id(given: str) -> None:
    asked = Asked(lambda: replica.ongoing)
    replica = Replica(door(asked))
    async with serving(replica) as channel:
        call = rpc(channel, "ModelInfer")(message(), metadata=(("request_id", given),) if given else None)
        assert (await call).raw_output_contents == [b"\0" * 8]
        told = dict(await call.trailing_metadata())["request_id"]
    assert told == given if given else len(told) > 20
    assert asked.seen == [(told, "app", {"gRPC": 1})]
    assert all_free(replica)
    assert (replica.counted, replica.served) == ([(INFER, "OK", False)], [])


async def test_an_error_keeps_its_code_and_metadata() -> None:
    replica = Replica(door(Acting(Overloaded("busy", 1.25))))
    async with serving(replica) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="busy") as caught:
            await rpc(channel, "ModelInfer")(message())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert {"request_id", "retry-after", "grpc-status-details-bin"} <= set(dict(caught.value.trailing_metadata()))
    assert replica.counted == [(INFER, "RESOURCE_EXHAUSTED", True)]


async def test_a_call_that_is_cancelled_is_no_longer_counted() -> None:
    acting = Acting()
    replica = Replica(door(acting))
    async with serving(replica) as channel:
        call = rpc(channel, "ModelInfer")(message())
        async with asyncio.timeout(10):
            await acting.began.wait()
            assert (replica.ongoing["gRPC"], replica._semaphore.locked()) == (1, True)
            call.cancel()
            await acting.cancelled.wait()
            while not replica.counted:  # noqa: ASYNC110  the server's side ends behind ours
                await asyncio.sleep(0.01)
    assert all_free(replica)
    assert replica.counted == [(INFER, "CANCELLED", True)]
    assert (len(replica.cancelled), replica.raised) == (1, ["CancelledError"])


async def test_streams() -> None:
    replica = Replica(door(Streaming()))
    async with serving(replica) as channel:
        answers = [answer async for answer in rpc(channel, "ModelStreamInfer")(iter([ask("a"), ask("b", model="c")]))]
        watch = rpc(channel, "grpc.health.v1.Health/Watch")(HealthRequest())
        assert (await watch.read()).status == 1
        assert (replica.ongoing["gRPC"], replica._semaphore.locked()) == (1, True)
        watch.cancel()
        while len(replica.counted) < 2:  # noqa: ASYNC110  the server's side ends behind ours
            await asyncio.sleep(0.01)
    assert [bool(answer.error_message) for answer in answers] == [False, True]
    assert all_free(replica)
    assert [code for _, code, _ in replica.counted] == ["OK", "CANCELLED"]
    assert replica.served == []


async def test_streams_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.grpc_standard.reflect", lambda request: 1 / 0)
    replica = Replica(door(gateway()[0]))
    async with serving(replica) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as unforeseen:
            _ = [
                a async for a in rpc(channel, "grpc.reflection.v1.ServerReflection/ServerReflectionInfo")(iter([Ask()]))
            ]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            _ = [a async for a in rpc(channel, "grpc.health.v1.Health/Watch")(b"\xff\xff")]
    assert unforeseen.value.code() is grpc.StatusCode.INTERNAL
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "HealthCheckRequest" in (refused.value.details() or "")
    assert replica.raised == ["ZeroDivisionError", "InvalidInput"]
    assert all_free(replica)


@pytest.mark.parametrize(
    "metadata", [(("application", "other"),), (("multiplexed_model_id", "m"),)], ids=["application", "multiplexed"]
)
async def test_what_serve_must_look_at_goes_its_way(metadata: Any) -> None:
    replica = Replica(door(gateway()[0]))
    async with serving(replica) as channel:
        await rpc(channel, "ModelInfer")(message(), metadata=metadata)
        _ = [answer async for answer in rpc(channel, "ModelStreamInfer")(iter([message()]), metadata=metadata)]
    assert (replica.served, replica.counted) == ([INFER, STREAM], [])


async def test_calls_that_wait_for_a_slot_wait_in_serves_queue() -> None:
    replica = Replica(door(gateway()[0]), slots=0)
    async with serving(replica) as channel:
        await rpc(channel, "ModelInfer")(message())
    assert (replica.served, replica.counted) == ([INFER], [])


@pytest.mark.parametrize("kind", ["limited", "another", "thread", "traced", "proxy"])
async def test_servers_without_a_short_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(object() if kind == "another" else door(gateway()[0]), timeout_s=5 if kind == "limited" else None)
    monkeypatch.setattr(grpc_express, "is_tracing_enabled", lambda: kind == "traced")
    if kind == "thread":
        replica._event_loop = asyncio.new_event_loop()
        replica._event_loop.close()
    handlers = (lambda *arguments: None) if kind == "proxy" else replica.handlers
    assert grpc_express.short_way(SimpleNamespace(service_handler_factory=handlers)) is None
    assert grpc_express.short_way(grpc.aio.server()) is None
