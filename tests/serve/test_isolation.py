"""Who leaves, is late, is poisonous or ends the process harms nobody else: through every door, behind both proxies."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest

from configs.serve import CLIENT_ADDRESS
from tests.serve.test_grpc import gated
from tests.support.grpc_client import infer_request, rpc
from tests.support.http import Answer
from tests.support.server import IN_FLIGHT, ROOT, Server

Leave = Callable[[], None]


class Batch:
    """One request holds the node; those sent after it wait for the next call."""

    def __init__(self, server: Server, graph: str, gate: Path, pool: ThreadPoolExecutor) -> None:
        self.server, self.graph, self.gate, self._pool = server, graph, gate, pool
        self.first = self.send(0)
        time.sleep(0.5)

    def send(self, value: float, headers: dict[str, str] | None = None) -> "Future[Answer]":
        # A process that ends may take half a minute to be back on a busy machine, and one test ends two.
        return self._pool.submit(self.server.request, f"/{self.graph}", self.body(value), headers, timeout_s=180)

    def body(self, value: float) -> dict:
        return {"gate": [str(self.gate)], "x": [value]}

    def open(self) -> None:
        time.sleep(0.5)  # what was sent stands in the queue
        self.gate.unlink()


@pytest.fixture
def batch(server: Server, graph: str, gate: Path, pool: ThreadPoolExecutor) -> Batch:
    return Batch(server, graph, gate, pool)


def by_http(path: str, body: dict, batch: Batch) -> Leave:
    """A request on a socket of its own, which leaves by closing it."""
    host, port = batch.server.http.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    connection.sendall(head.encode() + data)
    return connection.close


def by_plain(batch: Batch, value: float) -> Leave:
    return by_http(f"/{batch.graph}", batch.body(value), batch)


def by_v2(batch: Batch, value: float) -> Leave:
    tensors = [("gate", "BYTES", [str(batch.gate)]), ("x", "FP32", [value])]
    inputs = [{"name": name, "datatype": kind, "shape": [1], "data": data} for name, kind, data in tensors]
    return by_http(f"/v2/models/{batch.graph}/infer", {"inputs": inputs}, batch)


def by_grpc(batch: Batch, value: float) -> Leave:
    channel = grpc.insecure_channel(batch.server.grpc, options=[("grpc.enable_retries", 0)])
    name = str(batch.gate).encode()
    inputs = [
        ("gate", "BYTES", [1], len(name).to_bytes(4, "little") + name),
        ("x", "FP32", [1], np.float32(value).tobytes()),
    ]
    asked = rpc(channel, "ModelInfer").future(infer_request(batch.graph, inputs), timeout=60)

    def leave() -> None:
        asked.cancel()
        channel.close()

    return leave


def by_handle(batch: Batch, value: float) -> Leave:
    arguments = [batch.server.ray_address, batch.graph, str(batch.gate), str(value), "0.5"]
    command = [sys.executable, str(ROOT / "tests/clients/scripts/one_row.py"), *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    driver = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert "sent" in driver.stdout.readline()

    def leave() -> None:
        assert driver.stdout is not None
        assert "left" in driver.stdout.readline()
        threading.Timer(2, driver.communicate).start()

    return leave


@pytest.mark.parametrize("door", [by_plain, by_v2, by_grpc])
def test_of_four_one_leaves_and_one_is_poisonous_and_two_are_answered(
    batch: Batch, door: Callable[[Batch, float], Leave]
) -> None:
    check_that_only_who_leaves_is_left_out(batch, door)


@pytest.mark.proxy("haproxy")  # and past it: a handle calls the gateway itself
def test_who_leaves_by_handle_is_left_out(batch: Batch) -> None:
    check_that_only_who_leaves_is_left_out(batch, by_handle)


def check_that_only_who_leaves_is_left_out(batch: Batch, door: Callable[[Batch, float], Leave]) -> None:
    leave = door(batch, 1)
    poisonous, *good = batch.send(-1), batch.send(2), batch.send(3)
    time.sleep(0.5)
    leave()
    batch.open()
    answers = [future.result() for future in good]
    assert [answer.status for answer in answers] == [200, 200]
    assert poisonous.result().status == 400
    assert batch.first.result().status == 200
    computed = Path(f"{batch.gate}.computed").read_text().split()
    assert {"0", "-1", "2", "3"} == {*computed}  # not 1, who left


def test_who_is_late_hears_so_in_time(server: Server, graph: str, gate: Path, pool: ThreadPoolExecutor) -> None:
    body = {"gate": [str(gate)], "x": [1]}
    late = server.request(f"/{graph}", body, {"x-request-timeout-seconds": "0.5"})
    if server.proxy == "haproxy":
        assert late.status == 504
        assert "deadline" in late.json["error"]
    else:
        assert late.status == 408  # Ray's proxy keeps the same time, and answers itself
    assert gate.exists()  # blocking code cannot be interrupted: its answer will be dropped
    next_one = pool.submit(server.request, f"/{graph}", body)
    gate.unlink()
    assert next_one.result().status == 200


@pytest.mark.proxy("haproxy")  # no proxy takes part between gateway and stage
def test_a_process_that_ends_costs_who_ended_it(server: Server, gate: Path, pool: ThreadPoolExecutor) -> None:
    batch = Batch(server, "gated-placed", gate, pool)
    sent = [batch.send(value) for value in (1, 2, 666, 3)]
    batch.open()
    answers = [future.result(timeout=200) for future in [batch.first, *sent]]
    assert [answer.status for answer in answers] == [200, 200, 200, 500, 200]
    assert "its process ended twice" in answers[3].json["error"]


def test_more_than_can_be_done_in_time_is_refused_with_the_time_to_come_back(server: Server) -> None:
    assert server.request("/slow", {"x": [[1, 2]]}).status == 200  # now its speed is known
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: server.request("/slow", {"x": [[1, 2]]}), range(40)))
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert len(refused) >= 20
    assert all(1 <= int(answer.headers["retry-after"]) <= 10 for answer in refused)
    assert "is overloaded" in refused[0].json["error"]
    # gRPC says it in its own way.
    with grpc.insecure_channel(server.grpc) as channel:
        request = infer_request("slow", [("x", "FP32", [1, 2], bytes(8))])
        asked = [rpc(channel, "ModelInfer").future(request, timeout=60) for _ in range(40)]
        codes = {(one.exception(), one.code())[1] for one in asked}
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.mark.proxy("haproxy")  # which tells the gateway the address of each client
def test_a_client_with_too_much_in_flight_is_refused_and_others_are_not(server: Server, gate: Path) -> None:
    with grpc.insecure_channel(server.grpc, [("grpc.enable_retries", 0)]) as channel:
        asked = [rpc(channel, "ModelInfer").future(gated(gate), timeout=120) for _ in range(IN_FLIGHT + 1)]
        server.wait(lambda: any(one.done() for one in asked), 60, "one is refused")
        refused = server.request("/slow", {"x": [[1, 2]]}, {CLIENT_ADDRESS: "127.0.0.2"})
        assert (refused.status, list(refused.json)) == (429, ["error"])
        assert int(refused.headers["retry-after"]) >= 1
        assert server.request("/v2/health/ready").status == 200
        elsewhere = http.client.HTTPConnection(
            urlsplit(server.http).netloc, timeout=60, source_address=("127.0.0.2", 0)
        )
        with closing(elsewhere):
            elsewhere.request("POST", "/slow", json.dumps({"x": [[1, 2]]}), {"content-type": "application/json"})
            assert elsewhere.getresponse().status == 200
        gate.unlink()
        codes = Counter((one.exception(), one.code())[1] for one in asked)
    assert codes == {grpc.StatusCode.OK: IN_FLIGHT, grpc.StatusCode.RESOURCE_EXHAUSTED: 1}
    assert server.request("/slow", {"x": [[1, 2]]}).status == 200


def test_a_nodes_policies_hold_in_the_gateway(server: Server) -> None:
    row, other = [float(os.getpid()), 1.0], [float(os.getpid()), 2.0]
    first = server.request("/guarded", {"x": [row, row]}).json
    again = server.request("/guarded", {"x": [other, row]}).json
    assert first["y"] == [[0.5, 0.5], [0.5, 0.5]]
    assert first["call"][0] == first["call"][1] == again["call"][1] == again["call"][0] - 1
