"""A user's own routes in the gateway: their graphs, errors, deadlines, WebSockets, and what is refused at the start."""

import asyncio
from typing import Annotated, Any

import numpy as np
import pytest
from fastapi import APIRouter, Depends, HTTPException, WebSocket
from pydantic import BaseModel
from starlette.testclient import TestClient

from configs.errors import ConfigError, NodeError, NodeTimeout
from configs.tensors import Rows
from deployments.departures import UNWATCHED
from deployments.http_door import HttpDoor
from deployments.routers import import_router, import_routers
from deployments.routes import LocalGraph, graph
from graphs.terms import Terms
from tests.support.pages import snippets
from tests.unit.deployments.doors import Counted, gateway
from tests.unit.deployments.test_http_routes import ONE, TWO, Scripted

HERE = "tests.unit.deployments.test_routers"
Client = Annotated[LocalGraph, graph("g")]


class Model(BaseModel):
    x: list[list[float]]


inner = APIRouter()
router = APIRouter(prefix="/mine")


@router.post("/sum")
async def total(client: Client, model: Model) -> float:
    return float((await client.predict_async(x=model.x))["x"].sum())


@inner.get("/left")
async def left(client: Client) -> float:
    return client._terms.left_s


@router.get("/stream")
async def stream(client: Client) -> list[float]:
    return [float(rows["x"].sum()) async for rows in client.stream(x=[[1, 2]])]


@router.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418, "short and stout")


@router.get("/bug")
async def bug() -> None:
    raise KeyError("secret")


@router.websocket("/echo")
async def echo(socket: WebSocket, client: Client) -> None:
    await socket.accept()
    while True:
        outputs = await client.predict_async(x=await socket.receive_json())
        await socket.send_json(outputs["x"].tolist())


router.include_router(inner, prefix="/inner")
elsewhere = APIRouter()


@elsewhere.get("/other")
async def other(needs: Annotated[LocalGraph, Depends(graph("nowhere").dependency)]) -> None: ...


shadowed = APIRouter()


@shadowed.post("/v2/models/{name}/infer")
async def infer(name: str) -> None: ...


def client(run: Any = lambda rows: rows, **routers: APIRouter) -> tuple[TestClient, Counted]:
    answering, counted = gateway(run)
    door = HttpDoor(answering, "millrace", "1", 1000, routers or {"mine": router})
    return TestClient(door, raise_server_exceptions=False), counted


def test_a_route_calls_the_graph_in_the_same_process() -> None:
    http, counted = client(lambda rows: {"x": rows["x"] * 2})
    answer = http.post("/mine/sum", json={"x": [[1, 2], [3, 4]]})
    assert (answer.status_code, answer.json()) == (200, 20)
    assert counted.requests == [("g", "router", "OK")]


def test_a_route_takes_several_answers() -> None:
    answering = Scripted(ONE, TWO)
    door = HttpDoor(answering, "millrace", "1", 1000, {"mine": router})
    assert TestClient(door).get("/mine/stream").json() == [1, 2]
    assert answering.counted.requests == [("g", "router", "OK")]
    late = HttpDoor(Scripted(ONE, NodeError("late")), "millrace", "1", 1000, {"mine": router})
    assert TestClient(late).get("/mine/stream").json() == {"error": "late"}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [([[]], 400, "at least 1 element"), ([[1], [1, 2]], 400, "not FP32 values")],
)
def test_the_graphs_inputs_are_checked(body: Any, status: int, words: str) -> None:
    http, counted = client()
    answer = http.post("/mine/sum", json={"x": body})
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert counted.requests == [("g", "router", "400")]


@pytest.mark.parametrize(("error", "status"), [(NodeError("it broke"), 500), (NodeTimeout("it broke"), 504)])
def test_a_graphs_error_has_its_status(error: Exception, status: int) -> None:
    def run(rows: Rows) -> Rows:
        raise error

    http, counted = client(run)
    answer = http.post("/mine/sum", json={"x": [[1]]})
    assert (answer.status_code, answer.json()) == (status, {"error": "it broke"})
    assert counted.requests == [("g", "router", str(status))]


def test_the_routes_own_errors_are_the_users() -> None:
    http, _ = client()
    assert http.get("/mine/teapot").json() == {"detail": "short and stout"}
    assert http.post("/mine/sum", json={}).status_code == 422
    assert http.get("/mine/sum").status_code == 405
    answer = http.get("/mine/bug")
    assert (answer.status_code, "KeyError" in answer.json()["error"], "secret" in answer.text) == (500, True, False)


def test_other_paths_are_ours() -> None:
    http, counted = client()
    assert http.post("/g", json={"x": [[1]]}).json() == {"x": [[1]]}
    answer = http.get("/nope")
    assert answer.status_code == 404
    assert "no such path: /nope; graphs are at /g" in answer.json()["error"]
    assert "unknown model: 'z'" in http.post("/v2/models/z/infer").json()["error"]
    assert counted.requests[1:] == [("", "json", "404"), ("", "v2-http", "404")]


def test_a_large_body_is_refused() -> None:
    answer = client()[0].post("/mine/sum", content=b" " * 1001)
    assert answer.status_code == 413
    assert "max_request_bytes" in answer.json()["error"]


def test_a_deadline_comes_by_header() -> None:
    http, _ = client()
    assert 1 < http.get("/mine/inner/left", headers={"x-request-timeout-seconds": "2"}).json() <= 2
    answer = http.get("/mine/inner/left", headers={"x-request-timeout-seconds": "soon"})
    assert (answer.status_code, "'soon'" in answer.json()["error"]) == (400, True)


def test_a_client_on_other_terms_keeps_the_callers_deadline() -> None:
    answering, _ = gateway()
    caller = LocalGraph(answering, "g", Terms.within(5))
    assert caller.urgent(60)._terms.left_s < 6
    assert caller.urgent(1, priority=3)._terms.left_s < 2
    assert caller.urgent(1, priority=3)._terms.priority == 3
    assert list(caller.signature().inputs or {}) == ["x"]


def test_websockets() -> None:
    http, counted = client()
    with http.websocket_connect("/mine/echo") as socket:
        for number in (1, 2):
            socket.send_json([[number]])
            assert socket.receive_json() == [[number]]
        socket.send_json([[]])
        closed = socket.receive()
        assert (closed["type"], closed["code"]) == ("websocket.close", 1008)
        assert "at least 1 element" in closed["reason"]
    assert [code for _, _, code in counted.requests] == ["OK", "OK", "400"]


def test_the_document_tells_of_them_all() -> None:
    document = client()[0].get("/openapi.json").json()
    assert {"/g", "/mine/sum", "/mine/inner/left"} <= set(document["paths"])
    assert {"Model", "millrace.Model", "HTTPValidationError"} <= set(document["components"]["schemas"])


async def test_a_client_that_leaves_ends_its_route() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()
    slow = APIRouter()

    @slow.get("/slow")
    async def wait() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    said = [{"type": "http.request", "body": b""}]

    async def receive() -> dict[str, Any]:
        if said:
            return said.pop()
        await asked.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(message)

    door = HttpDoor(gateway()[0], "millrace", "1", 1000, {"slow": slow})
    scope = {"type": "http", "method": "GET", "path": "/slow", "root_path": "", "headers": [], "query_string": b""}
    await asyncio.wait_for(door({**scope, UNWATCHED: True}, receive, send), 10)
    assert ended.is_set()


def test_the_lifespan_of_a_router_is_followed() -> None:
    events = []

    class Lifespan:
        def __init__(self, app: Any) -> None: ...

        async def __aenter__(self) -> None:
            events.append("start")

        async def __aexit__(self, *error: object) -> None:
            events.append("end")

    http, _ = client(mine=APIRouter(lifespan=Lifespan))
    with http:
        assert events == ["start"]
    assert events == ["start", "end"]


def test_the_router_of_the_doors_page() -> None:
    [code] = snippets("docs/doors.md", "run this", "python")
    page: dict[str, Any] = {}
    exec(code, page)
    assert "/shop/read" in client(shop=page["router"])[0].get("/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no.such.module:router", "router no.such.module:router cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:nothing", "has no attribute 'nothing'"),
        (f"{HERE}:Client", "not a fastapi.APIRouter"),
        (f"{HERE}:elsewhere", "asks for the graph 'nowhere'; the application serves g"),
    ],
)
def test_a_router_that_cannot_be_served(path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        import_router(path, ["g"])


def test_all_problems_are_reported() -> None:
    with pytest.raises(ConfigError) as found:
        import_routers([f"{HERE}:nothing", f"{HERE}:router", f"{HERE}:elsewhere"], ["g"])
    assert len(found.value.message.splitlines()) == 2
    assert list(import_routers([f"{HERE}:router"], ["g"])) == [f"{HERE}:router"]


def test_a_path_of_ours_is_refused() -> None:
    with pytest.raises(ConfigError, match="router mine has a route for /v2/models/g/infer, which is a path of ours"):
        client(mine=shadowed)


def test_arrays_go_in_and_come_out() -> None:
    async def call() -> Rows:
        answering, _ = gateway()
        return await LocalGraph(answering, "g", Terms.within(5)).predict_async(x=np.ones((1, 2), np.float32))

    assert asyncio.run(call())["x"].tolist() == [[1, 1]]
