"""One client's requests in flight: the bound, the time to come again, who is who, and that nobody is remembered."""

import asyncio
import json
import pickle
from contextlib import ExitStack

import grpc
import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from configs.errors import Overloaded, TooManyRequests
from configs.serve import CLIENT_ADDRESS, ClientLimit
from deployments.answering import Answering
from deployments.clients import Clients
from deployments.http_door import HttpDoor
from deployments.http_generate import generate_routes
from deployments.http_messages import EventStream, Request
from deployments.protocols import v2_proto as v2
from deployments.service import GraphService
from tests.support.grpc_client import rpc
from tests.unit.deployments.doors import call, chunk, gateway
from tests.unit.deployments.grpc_server import serving
from tests.unit.deployments.test_grpc_door import Acting, message
from tests.unit.deployments.test_http_routes import ONE, ROUTES, TWO, Scripted
from tests.unit.deployments.test_routers import router


class Clock:
    """Time that passes when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clients(clock: Clock) -> Clients:
    """Two requests in flight for each."""
    return Clients(ClientLimit(in_flight=2, header="X-Tenant"), clock)


def refused(clients: Clients, name: str = "a") -> TooManyRequests:
    with pytest.raises(TooManyRequests) as error, clients.slot(name):
        pass
    return error.value


def test_a_client_is_refused_alone_and_only_as_long_as_it_has_so_much_in_flight(clients: Clients) -> None:
    with clients.slot("a"):
        with clients.slot("a"):
            error = refused(clients)
            with clients.slot("b"):
                assert len(clients) == 2
        with clients.slot("a"):
            refused(clients)
    assert (error.http_status, error.grpc_code) == (429, "RESOURCE_EXHAUSTED")
    assert "x-tenant) has 2 requests in flight" in error.message
    assert "client_limit.in_flight" in error.message
    assert isinstance(error, Overloaded)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.retry_after_s) == (TooManyRequests, error.message, error.retry_after_s)


def test_a_request_that_fails_gives_its_place_back(clients: Clients) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), clients.slot("a"):
            _ = 1 / 0
    assert len(clients) == 0


def test_the_time_to_come_again_is_that_of_the_clients_own_requests(clients: Clients, clock: Clock) -> None:
    with clients.slot("a"):
        with clients.slot("a"):
            clock.now += 3
            assert refused(clients).retry_after_s == pytest.approx(3)  # those in flight have taken so long already
        with clients.slot("a"):
            assert refused(clients).retry_after_s == pytest.approx(3)  # as long as the last one took
        for _ in range(50):
            with clients.slot("a"), clients.slot("b"):
                clock.now += 0.01
        with clients.slot("b"), clients.slot("b"):
            assert refused(clients, "b").retry_after_s < 0.1  # others' slow requests are not its own


def test_in_flight_divided_by_the_rate_is_what_is_told(clock: Clock) -> None:
    """Ten at a time, each for 4 s: 2.5 a second, so what is in flight needs 4 s."""
    clients, running = Clients(ClientLimit(in_flight=10), clock), list[ExitStack]()
    for step in range(100):
        if step >= 10:
            running.pop(0).close()
        running.append(ExitStack())
        running[-1].enter_context(clients.slot("a"))
        clock.now += 0.4
    assert refused(clients).retry_after_s == pytest.approx(4)
    for one in running:
        one.close()


def test_invented_names_leave_nothing_behind(clients: Clients) -> None:
    for number in range(10_000):
        with clients.slot(f"invented {number}"):
            assert len(clients) == 1
    assert len(clients) == 0


def test_who_is_who(clients: Clients) -> None:
    names = [{b"x-tenant": b"forged, a"}, {b"x-tenant": b"a"}]
    with clients.by_headers(names[0]), clients.by_headers(names[1]):
        with pytest.raises(TooManyRequests), clients.by_metadata({"x-tenant": "a"}):
            pass
        with clients.by_metadata({"x-tenant": "b"}), clients.by_headers({}), clients.by_metadata({}):
            refused(clients, "")  # requests without a name are one client's
            assert len(clients) == 3


def test_the_limit_in_the_config() -> None:
    assert ClientLimit(in_flight=1).header == CLIENT_ADDRESS
    assert ClientLimit(in_flight=1, header="X-Tenant").header == "x-tenant"
    for wrong in ({"in_flight": 0}, {"in_flight": 1, "header": "x tenant"}, {}):
        with pytest.raises(ValidationError):
            ClientLimit.model_validate(wrong)


def limited(answering: Answering) -> Clients:
    """One request in flight for each client of these doors."""
    answering.clients = Clients(ClientLimit(in_flight=1, header="x-tenant"))
    return answering.clients


@pytest.mark.parametrize("path", ROUTES)
async def test_over_http_a_client_gets_429_and_others_their_answers(path: str) -> None:
    answering, body = Scripted(ONE), chunk(json.dumps(ROUTES[path]).encode())
    with limited(answering).slot("a"):
        status, headers, answer = await call(answering, path, body, headers={"x-tenant": "a"})
        assert (status, headers[b"retry-after"], list(json.loads(answer))) == (429, b"1", ["error"])
        assert [(graph, code) for graph, _, code in answering.counted.requests] == [("g", "429")]
        assert (await call(answering, path, body, headers={"x-tenant": "b"}))[0] == 200
    assert (await call(answering, path, body, headers={"x-tenant": "a"}))[0] == 200


def test_a_users_own_routes_are_limited_too() -> None:
    answering = Scripted(ONE)
    http = TestClient(HttpDoor(answering, "millrace", "1", 1000, {"mine": router}))
    with limited(answering).slot("a"):
        answer = http.get("/mine/stream", headers={"x-tenant": "a"})
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert http.get("/mine/stream", headers={"x-tenant": "a"}).json() == [1]


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/g", "/v2/models/stats", "/v1/models/g", "/g"])
async def test_questions_about_the_server_are_not_limited(path: str) -> None:
    answering, _ = gateway()
    with limited(answering).slot(""):
        assert (await call(answering, path, chunk(b""), method="GET"))[0] == 200


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_stream_holds_its_place_until_it_ends(leaves: bool) -> None:
    answering = Scripted(ONE, TWO)
    clients = limited(answering)
    _, route = generate_routes(answering, answering.service("g"), "")
    answer = await route.handler(Request({}, json.dumps({"x": [1, 2]}).encode(), ""))
    assert isinstance(answer, EventStream)
    refused(clients, "")
    if leaves:
        await answer.others.aclose()
    else:
        assert len([event async for event in answer.others]) == 1
    assert not clients


MINE = (("x-tenant", "a"),)


async def test_over_grpc_a_client_is_told_when_to_come_again() -> None:
    acting = Acting()
    limited(acting)
    async with serving(acting) as channel, asyncio.timeout(10):
        infer = rpc(channel, "ModelInfer")
        held = infer(message(), metadata=MINE)
        await acting.began.wait()
        with pytest.raises(grpc.aio.AioRpcError, match="has 1 requests in flight") as error:
            await infer(message(), metadata=MINE)
        assert (await rpc(channel, "ServerLive")(v2.ServerLiveRequest(), metadata=MINE)).live
        held.cancel()
        await acting.cancelled.wait()
    assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    metadata = dict(error.value.trailing_metadata())
    assert metadata["retry-after"] == "1"
    assert "grpc-status-details-bin" in metadata
    assert acting.counted.requests == [("g", "v2-grpc", "RESOURCE_EXHAUSTED")]


async def test_in_a_grpc_stream_the_refusal_is_an_answer_and_the_stream_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GraphService, "decoupled", False)
    answering = Scripted(ONE)
    clients = limited(answering)
    async with serving(answering) as channel, asyncio.timeout(10):
        streaming = rpc(channel, "ModelStreamInfer")(metadata=MINE)
        with clients.slot("a"):
            await streaming.write(message())
            assert "requests in flight" in (await streaming.read()).error_message
        await streaming.write(message())
        assert not (await streaming.read()).error_message
    assert not clients
