"""The gRPC door behind both proxies: clients as they are, deadlines, clients that leave, health, reflection."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from deployments.protocols import grpc_pool
from deployments.protocols import v2_proto as v2
from tests.support.grpc_client import TIMEOUT_S, infer_request, rpc
from tests.support.server import ROOT, Server

TRITON = ROOT / "tests/clients/scripts/triton_grpc_all.py"
HEALTH = "grpc.health.v1.Health"
HealthRequest = grpc_pool.message("grpc.health.v1.HealthCheckRequest")
SERVING = 1


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc, [("grpc.enable_retries", 0)]) as channel:
        yield channel


def two(model: str, id_: str = "", x: float = 20) -> Any:
    return infer_request(model, [("x", "FP32", [1, 2], np.array([x, 2], np.float32).tobytes())], id_=id_)


def gated(gate: Path) -> Any:
    name = os.fsencode(gate)
    return infer_request(
        "gated", [("gate", "BYTES", [1], len(name).to_bytes(4, "little") + name), ("x", "FP32", [1], bytes(4))]
    )


def hurried(gate: Path, timeout_s: float) -> Any:
    request = gated(gate)
    request.parameters["timeout"].int64_param = int(timeout_s * 1e6)
    return request


def numbers(answer: Any, output: str, dtype: type) -> np.ndarray:
    index = [found.name for found in answer.outputs].index(output)
    return np.frombuffer(answer.raw_output_contents[index], dtype)


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return value


def test_tritonclient(server: Server) -> None:
    command = [sys.executable, str(TRITON), server.grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_deadline_reaches_the_gateway_and_a_clients_library_lives_in_it(channel: grpc.Channel) -> None:
    infer = rpc(channel, "ModelInfer")
    answer = infer(two("grpc-inside"), timeout=20)
    assert 10 < numbers(answer, "left", np.float64)[0] <= 20.1
    assert numbers(infer(two("grpc-inside")), "left", np.float64)[0] == -1
    index = [output.name for output in answer.outputs].index("theirs")
    assert answer.raw_output_contents[index][4:] == b"theirs"
    [streamed] = rpc(channel, "ModelStreamInfer")(iter([two("grpc-inside")]), timeout=20)
    assert 10 < numbers(streamed.infer_response, "left", np.float64)[0] <= 20.1


def test_a_cancelled_request_never_reaches_its_node(channel: grpc.Channel, gate: Path) -> None:
    infer = rpc(channel, "ModelInfer")
    first = infer.future(gated(gate), timeout=TIMEOUT_S)
    time.sleep(0.5)  # from the client's socket into the node's call
    left = infer.future(gated(gate), timeout=TIMEOUT_S)
    stream = rpc(channel, "ModelStreamInfer")(iter([gated(gate)]), timeout=TIMEOUT_S)
    time.sleep(0.5)
    left.cancel()
    stream.cancel()
    stays = infer.future(gated(gate), timeout=TIMEOUT_S)
    time.sleep(0.5)
    gate.unlink()
    assert numbers(first.result(), "rows", np.int64)[0] == 1
    assert numbers(stays.result(), "rows", np.int64)[0] == 1
    assert numbers(stays.result(), "call", np.int64)[0] - numbers(first.result(), "call", np.int64)[0] == 1


def test_a_request_that_waits_too_long_is_told_so(channel: grpc.Channel, gate: Path) -> None:
    infer, stream = rpc(channel, "ModelInfer"), rpc(channel, "ModelStreamInfer")
    first = infer.future(gated(gate), timeout=TIMEOUT_S)
    time.sleep(0.5)  # from the client's socket into the node's call
    streamed = stream(iter([hurried(gate, 4)]), timeout=TIMEOUT_S)
    late = infer.future(hurried(gate, 4), timeout=TIMEOUT_S)
    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [answer.error_message for answer in streamed] == [late.details()]
    gate.unlink()
    assert numbers(first.result(), "rows", np.int64)[0] == 1


def test_a_request_that_would_wait_too_long_is_told_when_to_come_again(channel: grpc.Channel, gate: Path) -> None:
    infer = rpc(channel, "ModelInfer")
    for _ in range(2):  # how long the first call took tells how long the second will
        gate.touch()
        held = infer.future(gated(gate), timeout=TIMEOUT_S)
        time.sleep(0.5)
        refused = infer.future(hurried(gate, 0.001), timeout=TIMEOUT_S)
        code, metadata = refused.code(), dict(refused.trailing_metadata())
        gate.unlink()
        held.result()
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(metadata["retry-after"]) >= 1
    status = grpc_pool.message("google.rpc.Status").FromString(metadata["grpc-status-details-bin"])
    assert (status.code, status.message) == (8, refused.details())
    assert status.details[0].type_url.endswith("google.rpc.RetryInfo")


def test_a_stream_of_many_requests(channel: grpc.Channel) -> None:
    ids = [str(number) for number in range(200)]
    answers = rpc(channel, "ModelStreamInfer")(iter([two("cascade", id_, float(id_)) for id_ in ids]), timeout=60)
    found = [answer.infer_response for answer in answers]
    assert [answer.id for answer in found] == ids
    for id_, answer in zip(ids, found, strict=True):
        amount = 1 if float(id_) >= 9 else 100  # the switch looks at what `small` gave
        assert numbers(answer, "y", np.float32)[0] == float(id_) + amount


def test_a_stream_that_both_sides_hold_open(channel: grpc.Channel) -> None:
    sent: list[str] = []

    def talk() -> Iterator[Any]:
        for id_ in "abc":
            until(lambda: len(heard) == len(sent), "an answer to each request before the next")
            sent.append(id_)
            yield two("cascade", id_)

    heard: list[str] = []
    for answer in rpc(channel, "ModelStreamInfer")(talk(), timeout=TIMEOUT_S):
        heard.append(answer.infer_response.id)
    assert heard == ["a", "b", "c"]


def test_health(channel: grpc.Channel) -> None:
    check = rpc(channel, f"{HEALTH}/Check")
    for service in ("", "cascade"):
        assert check(HealthRequest(service=service), timeout=TIMEOUT_S).status == SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        check(HealthRequest(service="made up"), timeout=TIMEOUT_S)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    watch = rpc(channel, f"{HEALTH}/Watch")(HealthRequest(), timeout=TIMEOUT_S)
    assert next(watch).status == SERVING
    watch.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_a_client_that_knows_nothing(channel: grpc.Channel, version: str) -> None:
    """As grpcurl does: ask for the services, for the file of one, and call it."""
    pool = reflected(channel, version)
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    method = service.methods_by_name["ModelReady"]
    asked, answer = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    call = channel.unary_unary(f"/{service.full_name}/ModelReady", asked.SerializeToString, answer.FromString)
    assert call(asked(name="cascade"), timeout=TIMEOUT_S).ready


def reflected(channel: grpc.Channel, version: str) -> descriptor_pool.DescriptorPool:
    ask = grpc_pool.message("grpc.reflection.v1.ServerReflectionRequest")
    call = rpc(channel, f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    [listed] = call(iter([ask(list_services="")]), timeout=TIMEOUT_S)
    names = [service.name for service in listed.list_services_response.service]
    assert names == list(grpc_pool.SERVICES)
    pool = descriptor_pool.DescriptorPool()
    for answer in call(iter([ask(file_containing_symbol=name) for name in names]), timeout=TIMEOUT_S):
        for file in reversed(answer.file_descriptor_response.file_descriptor_proto):
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
    return pool


def test_what_is_not_ready_and_statistics(server: Server, channel: grpc.Channel) -> None:
    ready = rpc(channel, "ModelReady")
    assert not ready(v2.ModelReadyRequest(name="cascade", version="9"), timeout=TIMEOUT_S).ready
    assert not ready(v2.ModelReadyRequest(name="made up"), timeout=TIMEOUT_S).ready

    def failures() -> int:
        [model] = rpc(channel, "ModelStatistics")(v2.ModelStatisticsRequest(name="failing")).model_stats
        return int(model.inference_stats.fail.count)

    before = failures()
    assert server.request("/failing", {"x": [[1, 2]]}).status == 500
    assert failures() == before + 1


def test_many_channels_at_once(server: Server) -> None:
    def one(number: int) -> float:
        with grpc.insecure_channel(server.grpc) as channel:
            answer = rpc(channel, "ModelInfer")(two("cascade", x=100 + number), timeout=TIMEOUT_S)
            return float(numbers(answer, "y", np.float32)[0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(40))) == [101.0 + number for number in range(40)]
