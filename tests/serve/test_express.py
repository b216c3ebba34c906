"""Requests go past Serve's own handler, and Serve still knows of them: the contract of the private names we use."""

import pytest

from tests.serve.test_metrics import EXPORTED_WITHIN_S, series
from tests.support.server import Server

BODY = {"x": [[1, 2]]}


@pytest.mark.proxy("haproxy")
def test_a_request_goes_past_serves_handler(server: Server) -> None:
    assert server.request("/way", BODY).json["called_by"] == ["express.py"]


@pytest.mark.proxy("haproxy")
def test_serve_counts_it(server: Server) -> None:
    server.request("/way", BODY)

    def counted() -> bool:
        found = series(server.metrics(), "serve_deployment_request_counter")
        return any(labels["deployment"] == "gateway" for labels in found)

    server.wait(counted, EXPORTED_WITHIN_S, "Serve's counter has the gateway's requests")


@pytest.mark.parametrize("given", ["", "mine-1"])
def test_the_requests_id_is_the_callers_or_a_new_one(server: Server, given: str) -> None:
    answer = server.request("/way", BODY, {"x-request-id": given} if given else {})
    [known] = answer.json["request_id"]
    assert answer.headers["x-request-id"] == known
    assert known == given if given else len(known) > 20
