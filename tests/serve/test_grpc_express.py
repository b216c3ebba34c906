"""Calls go past Serve's own handlers, and Serve still knows of them: the contract of the private names we use.

Which of them a new Serve lacks, the error of the replica that does not start says, or else the test that fails here.
"""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.serve.test_metrics import EXPORTED_WITHIN_S, series
from tests.support.grpc_client import SERVICE, TIMEOUT_S, infer_request, rpc
from tests.support.server import Server

REQUEST = infer_request("way", [("x", "FP32", [1, 2], bytes(8))])


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc, [("grpc.enable_retries", 0)]) as channel:
        yield channel


def asked(channel: grpc.Channel, **metadata: str) -> tuple[dict[str, str], dict[str, Any]]:
    """What the node saw, and the trailing metadata."""
    answer, call = rpc(channel, "ModelInfer").with_call(REQUEST, TIMEOUT_S, tuple(metadata.items()) or None)
    contents = [content[4:].decode() for content in answer.raw_output_contents]
    return dict(zip([output.name for output in answer.outputs], contents, strict=True)), dict(call.trailing_metadata())


def test_a_call_goes_past_serves_handler(server: Server, channel: grpc.Channel) -> None:
    way = "grpc_express.py" if server.proxy == "haproxy" else "replica.py"
    assert asked(channel)[0]["called_by"] == way


@pytest.mark.proxy("haproxy")
def test_what_serve_must_look_at_goes_its_way(channel: grpc.Channel) -> None:
    assert asked(channel, multiplexed_model_id="m")[0]["called_by"] == "replica.py"
    with pytest.raises(grpc.RpcError) as other:
        asked(channel, application="made up")
    assert other.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.proxy("haproxy")
@pytest.mark.parametrize("given", ["", "mine-1"])
def test_the_requests_id_is_the_callers_or_a_new_one(channel: grpc.Channel, given: str) -> None:
    saw, told = asked(channel, **({"request_id": given} if given else {}))
    assert told["request_id"] == saw["request_id"]
    assert saw["request_id"] == given if given else len(saw["request_id"]) > 20


@pytest.mark.proxy("haproxy")
def test_serve_counts_it(server: Server, channel: grpc.Channel) -> None:
    asked(channel)
    of_calls = {"application": "millrace", "method": f"{SERVICE}ModelInfer", "status_code": "OK"}

    def counted() -> bool:
        text = server.metrics()
        calls, all_ = series(text, "serve_num_grpc_requests"), series(text, "serve_deployment_request_counter")
        return any(of_calls.items() <= labels.items() for labels in calls) and any(
            (labels["deployment"], labels["route"]) == ("gateway", "millrace") for labels in all_
        )

    server.wait(counted, EXPORTED_WITHIN_S, "Serve's counters have the gateway's calls")
