"""What the HTTP door's routes say: v2 with Triton's extensions, `:predict`, codings, deadlines, streams."""

import asyncio
import gzip
import json
import math
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import numpy as np
import pytest

from configs.errors import DeadlineExceeded, InvalidInput, MillraceError, Overloaded
from configs.tensors import Rows
from deployments.answering import Answered, Answering
from deployments.departures import UNWATCHED
from deployments.http_door import HttpDoor
from deployments.protocols.request import InferRequest
from deployments.service import GraphService
from graphs.terms import DEFAULT_PRIORITY, UNHURRIED, Terms
from tests.unit.deployments.doors import MAX_BYTES, MAX_ROWS, Counted, call, chunk, gateway

BODY = b'{"x": [[1, 2]]}'
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
V2 = json.dumps({"inputs": [TENSOR]}).encode()
INFER = "/v2/models/g/infer"
LONG = {"x": [[1.5] * 500]}


async def ask(path: str, document: Any = None, headers: dict[str, str] | None = None, method: str = "") -> tuple:
    """Status and JSON of a request to a graph that gives back what it takes."""
    body = b"" if document is None else json.dumps(document).encode()
    method = method or ("GET" if document is None else "POST")
    status, _, answer = await call(gateway()[0], path, chunk(body), method=method, headers=headers)
    return status, json.loads(answer)


@pytest.mark.parametrize("base", ["/v2/models/g", "/v2/models/g/versions/1"])
async def test_config_and_statistics(base: str) -> None:
    status, config = await ask(f"{base}/config")
    assert (status, config["max_batch_size"]) == (200, MAX_ROWS)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}]
    for path in (f"{base}/stats", "/v2/models/stats"):
        _, statistics = await ask(path)
        assert [graph["name"] for graph in statistics["model_stats"]] == ["g"]


async def test_the_repository() -> None:
    index = [{"name": "g", "version": "1", "state": "READY", "reason": ""}]
    assert await ask("/v2/repository/index", {"ready": True}) == (200, index)
    assert await ask("/v2/repository/index", method="POST") == (200, index)
    assert await ask("/v2/repository/models/g/load", {}) == (200, {})
    assert (await ask("/v2/repository/models/g/load", {"parameters": {"config": "{}"}}))[0] == 501
    assert (await ask("/v2/repository/models/g/load", [1]))[0] == 400
    status, answer = await ask("/v2/repository/models/z/load", {})
    assert (status, answer["error"][:18]) == (400, "failed to load 'z'")
    assert (await ask("/v2/repository/models/g/unload", {}))[0] == 501


@pytest.mark.parametrize("base", ["/v1/models/g", "/v1/models/g/versions/1"])
async def test_predict(base: str) -> None:
    assert await ask(f"{base}:predict", {"instances": [[1, 2]]}) == (200, {"predictions": [[1, 2]]})
    assert await ask(f"{base}:predict", {"inputs": {"x": [[1, 2]]}}) == (200, {"outputs": [[1, 2]]})
    status, answer = await ask(f"{base}:predict", {})
    assert (status, list(answer)) == (400, ["error"])
    assert (await ask(base))[1]["ready"] is True
    assert (await ask(f"{base}/metadata"))[1]["model_spec"]["name"] == "g"
    assert await ask("/v1/models") == (200, {"models": ["g"]})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/models/z:predict", "Request for unknown model: 'z' is not found"),
        ("/v1/models/g/versions/2:predict", "'g' has no version '2'"),
        ("/v2/models/z/config", "Request for unknown model: 'z' is not found"),
        ("/v2/models/g/versions/2/stats", "'g' has no version '2'"),
        ("/v1/models/g:classify", "no such path: /v1/models/g:classify"),
    ],
)
async def test_what_is_not_there(path: str, words: str) -> None:
    status, answer = await ask(path, {})
    assert status == 404
    assert words in answer["error"]


async def test_generate_takes_a_row_and_gives_one() -> None:
    status, answer = await ask("/v2/models/g/generate", {"x": [1, 2], "id": "7"})
    assert (status, answer) == (200, {"model_name": "g", "model_version": "1", "id": "7", "x": [1, 2]})


def packed(coding: str, body: bytes) -> bytes:
    return gzip.compress(body) if coding == "gzip" else zlib.compress(body)


def unpacked(headers: dict[bytes, bytes], body: bytes) -> Any:
    read = {b"gzip": gzip.decompress, b"deflate": zlib.decompress}[headers[b"content-encoding"]]
    assert headers[b"content-length"] == b"%d" % len(body)
    return json.loads(read(body))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", ["/g", INFER, "/v1/models/g:predict"])
async def test_bodies_and_answers_are_compressed(coding: str, path: str) -> None:
    documents = {"/g": LONG, INFER: {"inputs": [{**TENSOR, "shape": [1, 500], "data": LONG["x"]}]}}
    body = json.dumps(documents.get(path, {"inputs": LONG})).encode()
    headers = {"content-encoding": coding, "accept-encoding": coding}
    status, got, answer = await call(gateway()[0], path, chunk(packed(coding, body)), headers=headers)
    assert status == 200
    assert [1.5] * 500 in (unpacked(got, answer).get("x", [[]])[0], *_lists(unpacked(got, answer)))


def _lists(document: dict[str, Any]) -> list:
    outputs = document.get("outputs", [[]])
    return [outputs[0]["data"] if isinstance(outputs[0], dict) else outputs[0]]


@pytest.mark.parametrize("accept", ["gzip, deflate", "gzip, deflate, br, zstd", "*/*", "identity"])
async def test_a_librarys_list_of_codings_is_no_wish(accept: str) -> None:
    _, headers, answer = await call(
        gateway()[0], "/g", chunk(json.dumps(LONG).encode()), headers={"accept-encoding": accept}
    )
    assert b"content-encoding" not in headers
    assert json.loads(answer) == LONG


async def test_large_answers_are_compressed_too() -> None:
    body = json.dumps({"x": [[0.5] * 20_000]}).encode()
    status, headers, answer = await call(gateway()[0], "/g", chunk(body), headers={"accept-encoding": "gzip"})
    assert status == 200
    assert unpacked(headers, answer) == json.loads(body)


async def test_a_bomb_is_refused() -> None:
    bomb = gzip.compress(bytes(MAX_BYTES + 1))
    status, _, answer = await call(gateway()[0], "/g", chunk(bomb), headers={"content-encoding": "gzip"})
    assert status == 413
    assert b"max_request_bytes" in answer


class Scripted(Answering):
    """Answers with what a test says, and remembers the terms."""

    def __init__(self, *script: Rows | MillraceError | Exception) -> None:
        answering, self.counted = gateway()
        super().__init__(answering.services, answering.recorder)
        self.script, self.terms, self.closed = script, UNHURRIED, asyncio.Event()

    async def infer(self, service: GraphService, request: InferRequest, terms: Terms = UNHURRIED) -> Answered:
        self.terms = terms
        if isinstance(self.script[0], Exception):
            raise self.script[0]
        return Answered(self.script[0], [])

    async def stream(
        self, service: GraphService, request: InferRequest, terms: Terms = UNHURRIED
    ) -> AsyncIterator[Answered]:
        self.terms = terms
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                yield Answered(item, [])
            await asyncio.sleep(0)
        finally:
            self.closed.set()


ONE, TWO = ({"x": np.array([[value]])} for value in (1, 2))
ROUTES = {
    "/g": {"x": [[1, 2]]},
    INFER: {"inputs": [TENSOR]},
    "/v1/models/g:predict": {"instances": [[1, 2]]},
    "/v2/models/g/generate": {"x": [1, 2]},
    "/v2/models/g/generate_stream": {"x": [1, 2]},
}


@pytest.mark.parametrize("path", ROUTES)
async def test_a_deadline_holds_on_every_route(path: str) -> None:
    answering, body = Scripted(ONE), chunk(json.dumps(ROUTES[path]).encode())
    assert (await call(answering, path, body))[0] == 200
    assert answering.terms == UNHURRIED
    assert (await call(answering, path, body, headers={"x-request-timeout-seconds": "2.5"}))[0] == 200
    assert 2 < answering.terms.left_s <= 2.5
    status, _, answer = await call(answering, path, body, headers={"x-request-timeout-seconds": "soon"})
    assert status == 400
    assert b"x-request-timeout-seconds is 'soon'" in answer


@pytest.mark.parametrize("path", [INFER, "/v2/models/g/generate"])
async def test_parameters_set_terms(path: str) -> None:
    answering = Scripted(ONE)
    body = chunk(json.dumps({**ROUTES[path], "parameters": {"timeout": 3_000_000, "priority": 2}}).encode())
    await call(answering, path, body, headers={"x-request-timeout-seconds": "5"})
    assert answering.terms.priority == 2
    assert 2 < answering.terms.left_s <= 3
    await call(answering, path, chunk(json.dumps({**ROUTES[path], "parameters": {"seed": 1}}).encode()))
    assert answering.terms.priority == DEFAULT_PRIORITY


@pytest.mark.parametrize("path", ROUTES)
async def test_overload_and_lateness(path: str) -> None:
    body = chunk(json.dumps(ROUTES[path]).encode())
    for wait, header in ((1.2, b"2"), (0.0, b"1"), (math.inf, b"3600")):
        status, headers, _ = await call(Scripted(Overloaded("full", wait)), path, body)
        assert (status, headers[b"retry-after"]) == (503, header)
    status, headers, _ = await call(Scripted(DeadlineExceeded("late")), path, body)
    assert (status, b"retry-after" in headers) == (504, False)


async def stream(answering: Answering, departs: bool = False) -> list[dict[str, Any]]:
    """What the server is told for a request to generate_stream; the client may leave after the first event."""
    sent: list[dict[str, Any]] = []
    left = asyncio.Event()
    messages = [chunk(json.dumps(ROUTES["/v2/models/g/generate_stream"]).encode())]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if departs and message["type"] == "http.response.body":
            left.set()

    path = "/v2/models/g/generate_stream"
    scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "headers": [], UNWATCHED: True}
    await HttpDoor(answering, "millrace", "1", MAX_BYTES)(scope, receive, send)
    return sent


def events(sent: list[dict[str, Any]]) -> list[Any]:
    """The JSON of each event of a stream that ended well."""
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"content-type"][:17]) == (200, b"text/event-stream")
    assert [message.get("more_body", False) for message in sent[1:]] == [True] * (len(sent) - 2) + [False]
    data = b"".join(message["body"] for message in sent[1:]).decode()
    assert data.endswith("\n\n") or not data
    return [json.loads(event.removeprefix("data: ")) for event in data.split("\n\n")[:-1]]


async def test_a_stream_is_an_event_for_each_answer() -> None:
    answering = Scripted(ONE, TWO)
    assert [event["x"] for event in events(await stream(answering))] == [1, 2]
    assert answering.counted.requests == [("g", "v2-http", "OK")]
    assert events(await stream(Scripted())) == []


@pytest.mark.parametrize(
    ("error", "said", "code"), [(InvalidInput("bad"), "bad", "400"), (ValueError("x"), "internal error", "500")]
)
async def test_an_error_within_a_stream_is_its_last_event(error: Exception, said: str, code: str) -> None:
    answering = Scripted(ONE, error)
    first, last = events(await stream(answering))
    assert first["x"] == 1
    assert said in last["error"]
    assert answering.counted.requests == [("g", "v2-http", code)]


async def test_an_error_before_the_first_event_is_an_answer() -> None:
    answering = Scripted(InvalidInput("bad"))
    sent = await stream(answering)
    assert (sent[0]["status"], json.loads(sent[1]["body"])) == (400, {"error": "bad"})
    assert answering.counted.requests == [("g", "v2-http", "400")]
    assert (await stream(Scripted(ValueError("x"))))[0]["status"] == 500


class Endless(Scripted):
    """A stream that waits for ever after its first answer."""

    async def stream(
        self, service: GraphService, request: InferRequest, terms: Terms = UNHURRIED
    ) -> AsyncGenerator[Answered, None]:
        try:
            yield Answered(ONE, [])
            await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_a_client_that_leaves_ends_its_stream() -> None:
    answering = Endless()
    sent = await asyncio.wait_for(stream(answering, departs=True), 5)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert answering.closed.is_set()
    assert isinstance(answering.counted, Counted)
    assert answering.counted.requests == []
