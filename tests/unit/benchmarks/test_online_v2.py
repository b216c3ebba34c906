"""The gRPC and Triton rows of the online benchmark: messages, the peers that answer them, the load generator."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from benchmarks.online import report, tally
from benchmarks.online.grpc_load import run as grpc_load
from benchmarks.online.launch import KINDS
from benchmarks.online.measure import Run
from benchmarks.online.plot import draw
from benchmarks.online.servers import fastapi_v2
from benchmarks.online.servers.grpc_app import Inference, add_GRPCInferenceServiceServicer_to_server
from benchmarks.online.summary import summarise
from benchmarks.online.v2 import HEADER_LENGTH, MODEL_INFER
from benchmarks.online.workloads import Workload, make_workloads
from benchmarks.online.wrk import parse


@pytest.fixture(scope="module")
def workloads() -> dict[str, Workload]:
    return make_workloads()


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """A grpc.aio server of the peers' models."""
    server = grpc.aio.server()
    add_GRPCInferenceServiceServicer_to_server(Inference(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


def run(server: str, per_second: float, workload: str = "grpc-tiny") -> Run:
    return Run(1, server, workload, 32, 4000, per_second, 1.0, 9.0, 2.0, 1.0, {})


@pytest.mark.parametrize("name", ["grpc-tiny", "grpc-tensor", "triton-grpc-tiny", "triton-grpc-tensor"])
async def test_the_bare_grpc_server_answers_rightly(name: str, workloads: dict[str, Workload], address: str) -> None:
    post = workloads[name].post(millrace=False)
    assert post == workloads[name].post(millrace=True)
    async with grpc.aio.insecure_channel(address) as channel:
        workloads[name].check(await channel.unary_unary(post.path)(post.body), None)


@pytest.mark.parametrize("name", ["triton-http-tiny", "triton-http-tensor"])
async def test_the_v2_route_of_fastapi_answers_rightly(name: str, workloads: dict[str, Workload]) -> None:
    app = FastAPI()
    app.include_router(fastapi_v2.router)
    post = workloads[name].post(millrace=False)
    assert post == workloads[name].post(millrace=True)
    assert (HEADER_LENGTH in post.headers) is (name == "triton-http-tensor")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://peer") as client:
        answer = await client.post(post.path, content=post.body, headers=post.headers)
    assert answer.status_code == 200
    workloads[name].check(answer.content, answer.headers.get(HEADER_LENGTH))


def test_a_wrong_answer_in_v2_json_is_refused(workloads: dict[str, Workload]) -> None:
    answer = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [0.0, 0.0, 9.0]}]}
    with pytest.raises(ValueError, match="output y is off by"):
        workloads["triton-http-tiny"].check(json.dumps(answer).encode(), None)


async def test_the_load_generator_counts_what_is_answered(workloads: dict[str, Workload], address: str) -> None:
    load = parse(await grpc_load(address, MODEL_INFER, workloads["grpc-tiny"].post(False).body, 3, 0.2))
    assert load.errors == {}
    assert load.requests >= 3
    assert 0.15 < load.seconds < 5
    assert 0 < load.p50_ms <= load.p99_ms < 5000


async def test_the_load_generator_counts_errors_by_their_code(address: str) -> None:
    load = parse(await grpc_load(address, MODEL_INFER.replace("Infer", "Ready", 1), b"", 1, 0.1))
    assert load.requests == 0
    assert load.errors.keys() == {"UNIMPLEMENTED"}


def test_the_tally_has_percentiles_in_milliseconds() -> None:
    load = parse(tally.line([n / 1000 for n in range(101, 0, -1)], 2, {"UNAVAILABLE": 3}))
    assert (load.p50_ms, load.p99_ms, load.per_second, load.errors) == (51, 100, 50.5, {"UNAVAILABLE": 3})
    assert parse(tally.line([], 2, {})).requests == 0


def test_a_client_that_can_less_does_its_most(workloads: dict[str, Workload]) -> None:
    counts = [1, 32, 512]
    found = {name: workloads[name].connections(counts) for name in ("tiny", "grpc-tiny", "triton-http-tiny")}
    assert found == {"tiny": [1, 32, 512], "grpc-tiny": [1, 32], "triton-http-tiny": [1, 4]}


def test_every_workload_has_one_base_and_millrace(workloads: dict[str, Workload]) -> None:
    for workload in workloads.values():
        servers = {name for name, kind in KINDS.items() if workload.client.protocol in kind.speaks}
        assert "millrace" in servers
        assert len(servers & {"fastapi", "grpc-aio"}) == 1


def test_ratios_over_grpc_are_to_the_bare_grpc_server_and_there_is_no_aim() -> None:
    page = report.render({}, 1, 4, summarise([run("grpc-aio", 1000), run("ray-grpc", 500), run("millrace", 900)]))
    assert "× grpc.aio" in page
    assert "× FastAPI" not in page
    assert "aims" not in page
    assert "| 32 | Millrace | 900 | 0.90 × |" in page


def test_the_picture_leaves_out_what_has_no_aim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[Any] = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_xticks", lambda self, places, labels: ticks.extend(labels))
    runs = [run("fastapi", 1, "tiny"), run("millrace", 2, "tiny"), run("grpc-aio", 1), run("millrace", 2)]
    draw(summarise(runs), tmp_path / "plot.png")
    assert ticks == ["tiny"]


def test_raw_contents_are_the_input(workloads: dict[str, Workload]) -> None:
    workload = workloads["grpc-tensor"]
    assert workload.x.tobytes() in workload.post(millrace=True).body
    assert workload.x.dtype == np.float32
