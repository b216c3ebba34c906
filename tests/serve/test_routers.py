"""A user's own routes beside the graphs', in a real server."""

import json

import pytest
from websockets.sync.client import connect

from tests.serve.test_metrics import EXPORTED_WITHIN_S, series
from tests.support.server import MAX_REQUEST_BYTES, Server

ZERO = [
    "  -#+.  ",
    "  #%*%- ",
    " :%. *= ",
    " :#  == ",
    " -=  += ",
    " :* .#= ",
    " .%-*#  ",
    "  -#*   ",
]


@pytest.mark.proxy("haproxy")
def test_the_examples_route(server: Server) -> None:
    answer = server.request("/digits-by-text", {"lines": ZERO})
    assert answer.status == 200, answer.body
    assert answer.json["digit"] == 0
    assert server.request("/digits-by-text", {"lines": ZERO[:7]}).status == 422
    assert "/digits-by-text" in server.request("/openapi.json").json["paths"]

    def counted() -> bool:
        found = series(server.metrics(), "millrace_requests")
        return any(labels["protocol"] == "router" and labels["graph"] == "digits" for labels in found)

    server.wait(counted, EXPORTED_WITHIN_S, "the route's call is counted")


def test_errors_of_graphs_have_their_status(server: Server) -> None:
    answer = server.request("/ours/failing")
    assert answer.status == 500
    assert list(answer.json) == ["error"]
    answer = server.request("/ours/way", headers={"x-request-timeout-seconds": "soon"})
    assert answer.status == 400
    assert server.request("/ours/nowhere").json["error"].startswith("no such path: /ours/nowhere; graphs are at ")
    assert server.request("/digits-by-text", b" " * (MAX_REQUEST_BYTES + 1)).status == 413


@pytest.mark.proxy("haproxy")
def test_a_route_is_reached_past_serves_handler(server: Server) -> None:
    assert server.request("/ours/way").json == ["express.py"]


def test_a_websocket(server: Server) -> None:
    with connect(f"{server.http.replace('http', 'ws', 1)}/ours/socket", open_timeout=30) as socket:
        socket.send(json.dumps({"x": [[1, 2], [20, 1]]}))
        assert json.loads(socket.recv(30)) == [[101, 102], [21, 2]]
