"""The HTTP door as a server calls it: bodies, routes, counts, and what runs beside the event loop."""

import json
import re
import threading
import time

import pytest

from configs.errors import NodeError
from configs.graph import GRAPH_NAME, RESERVED_NAMES
from configs.tensors import Rows
from deployments.http_door import HttpDoor
from deployments.http_infer import terms
from deployments.http_messages import Request
from tests.unit.deployments.doors import MAX_BYTES, UNSENDABLE, call, chunk, gateway
from tests.unit.deployments.protocols.samples import asking

BODY = b'{"x": [[1, 2]]}'
TENSOR = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
V2 = json.dumps({"inputs": [TENSOR]}).encode()
V2_PATH = "/v2/models/g/infer"


async def test_an_answer_is_counted_for_its_graph() -> None:
    answering, counted = gateway()
    status, _, body = await call(answering, "/g", chunk(BODY[:5], more=True), chunk(BODY[5:]))
    assert (status, json.loads(body)) == (200, {"x": [[1, 2]]})
    assert counted.requests == [("g", "json", "OK")]


def test_a_deadline_begins_with_the_head_and_not_with_the_end_of_the_body() -> None:
    request = Request({b"x-request-timeout-seconds": b"0.5"}, BODY, "", arrived=100.0)
    assert terms(request, asking()).deadline == 100.5


@pytest.mark.parametrize("cut", [None, 10])
async def test_a_body_without_a_length_is_limited_too(cut: int | None) -> None:
    body = b" " * (MAX_BYTES + 1)
    messages = [chunk(body)] if cut is None else [chunk(body[:cut], more=True), chunk(body[cut:])]
    status, _, answer = await call(gateway()[0], "/g", *messages)
    assert status == 413
    assert b"max_request_bytes" in answer


@pytest.mark.parametrize("messages", [[], [chunk(BODY, more=True)]])
async def test_a_client_that_leaves_with_half_a_body_sent_is_not_decoded(messages: list[dict]) -> None:
    answering, counted = gateway()
    status, _, _ = await call(answering, "/g", *messages, {"type": "http.disconnect"})
    assert status == 499
    assert counted.requests == []


@pytest.mark.parametrize(
    ("path", "method", "headers", "status", "protocol"),
    [
        ("/nope", "POST", {}, 404, "json"),
        ("/v2/models/nope/infer", "POST", {}, 404, "v2-http"),
        ("/g", "PUT", {}, 405, "json"),
        ("/v2", "POST", {}, 405, "v2-http"),
        ("/g", "POST", {"content-length": str(MAX_BYTES + 1)}, 413, "json"),
        (V2_PATH, "POST", {"content-encoding": "br"}, 415, "v2-http"),
        (V2_PATH, "POST", {"content-encoding": "gzip"}, 400, "v2-http"),
        ("/v1/models/nope:predict", "POST", {}, 404, "v1-http"),
        ("/v1x", "POST", {}, 404, "json"),
    ],
)
async def test_errors_before_a_graph_runs_are_counted(
    path: str, method: str, headers: dict[str, str], status: int, protocol: str
) -> None:
    answering, counted = gateway()
    assert (await call(answering, path, chunk(BODY), method=method, headers=headers))[0] == status
    assert counted.requests == [("", protocol, str(status))]


@pytest.mark.parametrize(("path", "body", "protocol"), [("/g", BODY, "json"), (V2_PATH, V2, "v2-http")])
@pytest.mark.parametrize("kind", UNSENDABLE)
async def test_an_output_that_cannot_be_sent_is_the_nodes_error(
    kind: str, path: str, body: bytes, protocol: str
) -> None:
    answering, counted = gateway(UNSENDABLE[kind])
    status, _, answer = await call(answering, path, chunk(body))
    assert status == 500
    assert "output 'x' cannot be sent" in json.loads(answer)["error"]
    assert counted.requests == [("g", protocol, "500")]


@pytest.mark.parametrize("path", ["/g", V2_PATH])
@pytest.mark.parametrize(("count", "beside"), [(2, False), (1_600_000, True)])
async def test_large_bodies_and_answers_leave_the_loop_free(
    path: str, count: int, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def spy(name: str) -> None:
        from deployments.protocols import plain, v2_json

        module = plain if path == "/g" else v2_json
        codec = getattr(module, name)

        def called(*args: object) -> object:
            threads.append(threading.current_thread())
            return codec(*args)

        monkeypatch.setattr(module, name, called)

    for name in ("decode", "encode") if path == "/g" else ("decode_infer", "encode_infer"):
        spy(name)
    data = [[1.0] * count]
    document = {"x": data} if path == "/g" else {"inputs": [{**TENSOR, "shape": [1, count], "data": data}]}
    ran_on = []

    def run(rows: Rows) -> Rows:
        ran_on.append(threading.current_thread())
        return rows

    body = json.dumps(document, separators=(",", ":")).encode()
    status, _, _ = await call(gateway(run)[0], path, chunk(body))
    assert status == 200
    assert ran_on == [threading.main_thread()]
    assert [thread is not threading.main_thread() for thread in threads] == [beside, beside]


@pytest.mark.parametrize(("root", "path"), [("", "/"), ("/m", "/m"), ("/m", "/m/")])
async def test_the_index_leads_to_the_docs_below_the_route_prefix(root: str, path: str) -> None:
    status, headers, _ = await call(gateway()[0], path, chunk(b""), method="GET", root=root)
    assert (status, headers[b"location"]) == (307, f"{root}/docs".encode())


def test_every_path_of_the_server_is_a_name_that_no_graph_may_have() -> None:
    door = HttpDoor(gateway()[0], "millrace", "1", MAX_BYTES)
    names = {path[1:] for path in door._handlers} - {"g"}
    assert {name for name in names if re.match(GRAPH_NAME, name)} | {"admin"} == set(RESERVED_NAMES)


async def test_the_time_of_a_failed_request_is_counted() -> None:
    def slow(rows: Rows) -> Rows:
        time.sleep(0.02)
        raise NodeError("broken")

    answering, counted = gateway(slow)
    assert (await call(answering, "/g", chunk(BODY)))[0] == 500
    [seconds] = counted.failed_s
    assert 0.02 <= seconds < 10
