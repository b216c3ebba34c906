"""Behind HAProxy, with another application beside ours and a prefix before ours: faults and changes cost no request."""

import copy
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest

from tests.support.grpc_client import SERVICE, infer_request
from tests.support.load import Load, grpc_client, http_client
from tests.support.processes import session
from tests.support.server import Server
from tests.support.shared import FOREIGN

pytestmark = [pytest.mark.timeout(300), pytest.mark.proxy("beside")]

CLIENTS = 32
INFER = infer_request("slow", [("x", "FP32", [1, 2], bytes(8))]).SerializeToString()


def load(server: Server) -> Load:
    """Clients that never retry, over HTTP (headers and body sent apart) and gRPC."""
    http = http_client(f"{server.http}/ours/slow", {"x": [[1, 2]]}, {"y": [[2, 3]]})
    by_grpc = grpc_client(server.grpc, INFER, "millrace")
    return Load([*[http] * (CLIENTS - 8), *[by_grpc] * 8])


def haproxies(server: Server) -> list[int]:
    """Process ids of HAProxy: one, and for a moment those that it replaces."""
    return [pid for pid, command in session(server._leader).items() if Path(command[0]).name == "haproxy"]


def test_each_application_answers_below_its_own_prefix(server: Server) -> None:
    assert server.request("/ours/slow", {"x": [[1, 2]]}).json == {"y": [[2, 3]]}
    assert server.request("/ours/v2/models/slow/ready").status == 200
    assert server.request("/ours/openapi.json").status == 200
    assert server.request("/other/plain").json["pid"] in server.replicas("foreign", "Foreign").values()
    assert server.request("/slow", {"x": [[1, 2]]}).status == 404


def test_another_applications_events_arrive_one_by_one(server: Server) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.http).netloc, timeout=30)
    with closing(connection):
        connection.request("GET", "/other/events?count=4&every_s=0.3")
        response, seen = connection.getresponse(), []
        while chunk := response.read1():
            seen.append((time.monotonic(), chunk))
    assert [chunk for _, chunk in seen] == [b"data: %d\n\n" % number for number in range(4)]
    times = [at for at, _ in seen]
    assert all(later - earlier > 0.1 for earlier, later in pairwise(times))


def test_grpc_names_its_application_where_there_are_several(server: Server) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        rpc = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=bytes, response_deserializer=bytes)
        assert b"slow" in rpc(INFER, timeout=30, metadata=[("application", "millrace")])
        with pytest.raises(grpc.RpcError, match="Application metadata not set") as error:
            rpc(INFER, timeout=30)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_killed_gateway_costs_no_request(server: Server) -> None:
    before = server.replicas("millrace", "gateway")
    [first, _] = before
    with load(server) as running:
        os.kill(before[first], signal.SIGKILL)
        running.wait_for_more(300)
        server.wait(lambda: len(server.replicas("millrace", "gateway").keys() - {first}) == 2, 60, "it is back")
        running.wait_for_more(300)
    assert running.failures == []


def test_another_application_goes_without_disturbing_ours(server: Server) -> None:
    alone = copy.deepcopy(server.config)
    alone["applications"].pop()
    before = server.replicas("millrace", "gateway")
    with load(server) as running:
        assert server.deploy_by_command(alone) == "RUNNING"
        server.wait(lambda: "foreign" not in server.applications(), 60, "the other application has gone")
        running.wait_for_more(100)
    assert running.failures == []
    assert server.request("/other/plain").status == 404
    assert server.replicas("millrace", "gateway") == before


def test_fewer_gateways_and_a_new_application_cost_no_request(server: Server) -> None:
    config = server.changed(gateway={"cpus": 0.5, "replicas": 1})
    config["applications"].append(FOREIGN)
    with load(server) as running:
        assert server.deploy(config) == "RUNNING"
        server.wait(lambda: len(server.replicas("millrace", "gateway")) == 1, 60, "one gateway is left")
        server.wait(lambda: server.request("/other/plain").status == 200, 60, "the other application is there")
        running.wait_for_more(300)
    assert running.failures == []


def test_with_the_only_gateway_no_more_is_lost_than_it_held(server: Server) -> None:
    [(first, pid)] = server.replicas("millrace", "gateway").items()
    with load(server) as running:
        os.kill(pid, signal.SIGKILL)
        server.wait(lambda: server.replicas("millrace", "gateway").keys() - {first}, 60, "it is back")
        running.wait_for_more(300)
    assert len(running.failures) <= CLIENTS  # one request each; what comes later waits for the next gateway


def test_a_killed_haproxy_is_back_within_seconds(server: Server) -> None:
    for pid in haproxies(server):
        os.kill(pid, signal.SIGKILL)

    def answers() -> bool:
        try:
            return server.request("/ours/slow", {"x": [[1, 2]]}).status == 200
        except OSError:
            return False

    server.wait(answers, 25, "HAProxy is back")  # half a minute with Serve's own health check period


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process named haproxy that is none of the cluster's business."""
    haproxy = tmp_path / "haproxy"
    haproxy.symlink_to("/bin/sleep")
    with subprocess.Popen([haproxy, "1000"]) as process:
        yield process
        process.kill()


def test_ctrl_c_leaves_nothing_of_the_cluster_and_touches_nobody_else(
    server: Server, bystander: subprocess.Popen[bytes]
) -> None:
    """The last test of this server."""
    commands = [command for command in session(server._leader).values() if Path(command[0]).name == "haproxy"]
    # Two of them for a moment after a route came: the new one, and the old one that drains.
    [config] = {Path(word) for command in commands for word in command if word.endswith("/haproxy.cfg")}
    assert config.exists()
    server.stop()
    assert not config.exists()
    assert bystander.poll() is None
