"""Behind HAProxy, with another application beside ours and a prefix before ours: faults and changes cost no request."""

import copy
import http.client
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
import yaml

from tests.support.grpc_client import SERVICE, infer_request
from tests.support.load import Load, grpc_client, http_client
from tests.support.processes import session
from tests.support.server import Server

pytestmark = pytest.mark.timeout(300)

SLOW = {
    "name": "slow",
    "inputs": {"x": "FP32[-1, 2]"},
    "nodes": {
        "add": {"call": "tests.support.nodes:Add", "with": {"sleep_s": 0.05}, "inputs": {"x": "x"}},
    },
    "outputs": {"y": "add.y"},
}
"""Requests take long enough that some are always in flight in each replica."""
FOREIGN = {"name": "foreign", "import_path": "tests.support.foreign:app", "route_prefix": "/other"}
CLIENTS = 32
INFER = infer_request("slow", [("x", "FP32", [1, 2], bytes(8))]).SerializeToString()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways below `/ours`, and an application that is not Millrace's below `/other`."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "slow.yaml").write_text(yaml.safe_dump(SLOW))
    running = Server("haproxy", folder)
    [ours] = running.config["applications"]
    ours["route_prefix"] = "/ours"
    ours["args"] |= {"graphs": [str(folder / "slow.yaml")], "routers": [], "gateway": {"cpus": 0.5, "replicas": 2}}
    running.config["applications"].append(FOREIGN)
    running.start()
    yield running
    running.stop()


def load(server: Server) -> Load:
    """Clients that never retry, over HTTP (headers and body sent apart) and gRPC."""
    http = http_client(f"{server.http}/ours/slow", {"x": [[1, 2]]}, {"y": [[2, 3]]})
    by_grpc = grpc_client(server.grpc, INFER, "millrace")
    return Load([*[http] * (CLIENTS - 8), *[by_grpc] * 8])


def haproxies(server: Server) -> list[int]:
    """Process ids of HAProxy: one, and for a moment those that it replaces."""
    return [pid for pid, command in session(server._leader).items() if Path(command[0]).name == "haproxy"]


def test_each_application_answers_below_its_own_prefix(shared: Server) -> None:
    assert shared.request("/ours/slow", {"x": [[1, 2]]}).json == {"y": [[2, 3]]}
    assert shared.request("/ours/v2/models/slow/ready").status == 200
    assert shared.request("/ours/openapi.json").status == 200
    assert shared.request("/other/plain").json["pid"] in shared.replicas("foreign", "Foreign").values()
    assert shared.request("/slow", {"x": [[1, 2]]}).status == 404


def test_another_applications_events_arrive_one_by_one(shared: Server) -> None:
    connection = http.client.HTTPConnection(urlsplit(shared.http).netloc, timeout=30)
    with closing(connection):
        connection.request("GET", "/other/events?count=4&every_s=0.3")
        response, seen = connection.getresponse(), []
        while chunk := response.read1():
            seen.append((time.monotonic(), chunk))
    assert [chunk for _, chunk in seen] == [b"data: %d\n\n" % number for number in range(4)]
    times = [at for at, _ in seen]
    assert all(later - earlier > 0.1 for earlier, later in pairwise(times))


def test_grpc_names_its_application_where_there_are_several(shared: Server) -> None:
    with grpc.insecure_channel(shared.grpc) as channel:
        rpc = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=bytes, response_deserializer=bytes)
        assert b"slow" in rpc(INFER, timeout=30, metadata=[("application", "millrace")])
        with pytest.raises(grpc.RpcError, match="Application metadata not set") as error:
            rpc(INFER, timeout=30)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_killed_gateway_costs_no_request(shared: Server) -> None:
    before = shared.replicas("millrace", "gateway")
    [first, _] = before
    with load(shared) as running:
        os.kill(before[first], signal.SIGKILL)
        running.wait_for_more(300)
        shared.wait(lambda: len(shared.replicas("millrace", "gateway").keys() - {first}) == 2, 60, "it is back")
        running.wait_for_more(300)
    assert running.failures == []


def test_another_application_goes_without_disturbing_ours(shared: Server) -> None:
    alone = copy.deepcopy(shared.config)
    alone["applications"].pop()
    before = shared.replicas("millrace", "gateway")
    with load(shared) as running:
        assert shared.deploy(alone) == "RUNNING"
        shared.wait(lambda: "foreign" not in shared.applications(), 60, "the other application has gone")
        running.wait_for_more(100)
    assert running.failures == []
    assert shared.request("/other/plain").status == 404
    assert shared.replicas("millrace", "gateway") == before


def test_fewer_gateways_and_a_new_application_cost_no_request(shared: Server) -> None:
    config = shared.changed(gateway={"cpus": 0.5, "replicas": 1})
    config["applications"].append(FOREIGN)
    with load(shared) as running:
        assert shared.deploy(config) == "RUNNING"
        shared.wait(lambda: len(shared.replicas("millrace", "gateway")) == 1, 60, "one gateway is left")
        shared.wait(lambda: shared.request("/other/plain").status == 200, 60, "the other application is there")
        running.wait_for_more(300)
    assert running.failures == []


def test_with_the_only_gateway_no_more_is_lost_than_it_held(shared: Server) -> None:
    [(first, pid)] = shared.replicas("millrace", "gateway").items()
    with load(shared) as running:
        os.kill(pid, signal.SIGKILL)
        shared.wait(lambda: shared.replicas("millrace", "gateway").keys() - {first}, 60, "it is back")
        running.wait_for_more(300)
    assert len(running.failures) <= CLIENTS  # one request each; what comes later waits for the next gateway


def test_a_killed_haproxy_is_back_within_seconds(shared: Server) -> None:
    for pid in haproxies(shared):
        os.kill(pid, signal.SIGKILL)

    def answers() -> bool:
        try:
            return shared.request("/ours/slow", {"x": [[1, 2]]}).status == 200
        except OSError:
            return False

    shared.wait(answers, 25, "HAProxy is back")  # half a minute with Serve's own health check period
