"""Unmodified clients, each in a process of its own, and a batch job agree on every handwritten digit, to the bit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from tests.support.server import ROOT, Server, millrace

pytestmark = pytest.mark.proxy("haproxy")
"""That a client's bytes pass Ray's proxy as they are, `tests/serve` sees with every datatype."""
SCRIPTS = Path(__file__).parent / "scripts"
ROWS = 64
"""Rows of a call, as many as the CNN's `batch` says, so that a job calls it with them too: of all ways in the calls are
the same, one after another, as a CNN's last bit depends on the rows of a call."""


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = load_digits(return_X_y=True)
    return images.reshape(-1, 8, 8).astype(np.uint8), labels


@pytest.fixture(scope="session")
def calls(digits: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the rows of each call."""
    path = tmp_path_factory.mktemp("digits") / "rows.npz"
    images = digits[0]
    np.savez(path, **{f"{start:05}": images[start : start + ROWS] for start in range(0, len(images), ROWS)})
    return path


@pytest.fixture(scope="session")
def answers(server: Server, calls: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """`<way>_label` and `<way>_score` from every client."""
    folder = tmp_path_factory.mktemp("answers")
    found = curl_v2(server, calls) | curl_plain(server, calls)
    host = server.http.removeprefix("http://")
    for script, address in (("triton_http", host), ("triton_grpc", server.grpc), ("handle", server.ray_address)):
        found |= run(server, script, address, calls, folder / f"{script}.npz")
    return found | file(server, calls, folder)


def run(server: Server, script: str, address: str, calls: Path, answers: Path) -> dict[str, np.ndarray]:
    command = [sys.executable, str(SCRIPTS / f"{script}.py"), address, str(calls), str(answers)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    # A driver may have inherited the cluster's settings or not: once so, and the README's once so.
    env["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
    done = subprocess.run(command, env=env, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(np.load(answers))


def file(server: Server, calls: Path, folder: Path) -> dict[str, np.ndarray]:
    """The rows of all calls as one file, by a batch job on the server's cluster."""
    images = np.concatenate(list(np.load(calls).values()))
    pq.write_table(pa.table({"image": pa.FixedShapeTensorArray.from_numpy_ndarray(images)}), folder / "rows.parquet")
    options = ["--input", str(folder / "rows.parquet"), "--output", str(folder / "scored"), "--profile", "cpu"]
    options += ["--address", server.ray_address, "--batch-rows", str(ROWS), "--cpus", "0.1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        millrace("batch", "configs/digits.yaml", *options),
        cwd=ROOT,
        env=env,
        timeout=180,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    columns = pq.read_table(folder / "scored").to_pydict()
    return {
        "file_label": np.array(columns["label"], np.int64),
        "file_score": np.array(columns["score"], np.float32),
    }


def curl(url: str, body: str) -> dict:
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", url]
    command += ["-H", "content-type: application/json", "-d", "@-"]
    done = subprocess.run(command, input=body, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def with_curl(calls: Path, way: str, ask: Callable[[np.ndarray], tuple[list, list]]) -> dict[str, np.ndarray]:
    labels, scores = zip(*(ask(rows) for rows in np.load(calls).values()), strict=True)
    return {
        f"{way}_label": np.concatenate([np.array(label, np.int64) for label in labels]),
        f"{way}_score": np.concatenate([np.array(score, np.float32).ravel() for score in scores]),
    }


def curl_v2(server: Server, calls: Path) -> dict[str, np.ndarray]:
    def ask(rows: np.ndarray) -> tuple[list, list]:
        tensor = {"name": "image", "datatype": "UINT8", "shape": rows.shape, "data": rows.tolist()}
        answer = curl(f"{server.http}/v2/models/digits/infer", json.dumps({"inputs": [tensor]}))
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        return outputs["label"], outputs["score"]

    return with_curl(calls, "curl_v2", ask)


def curl_plain(server: Server, calls: Path) -> dict[str, np.ndarray]:
    def ask(rows: np.ndarray) -> tuple[list, list]:
        answer = curl(f"{server.http}/digits", json.dumps({"image": rows.tolist()}))
        return answer["label"], answer["score"]

    return with_curl(calls, "curl_plain", ask)


WAYS = ("binary", "json", "grpc", "curl_v2", "curl_plain", "sync", "async", "file")


def test_over_95_percent_of_the_digits_are_read_right(
    answers: dict[str, np.ndarray], digits: tuple[np.ndarray, np.ndarray]
) -> None:
    assert len(answers["binary_label"]) == 1797
    assert (answers["binary_label"].ravel() == digits[1]).mean() > 0.95


@pytest.mark.parametrize("way", WAYS[1:])
def test_every_way_in_gives_the_same_bits(answers: dict[str, np.ndarray], way: str) -> None:
    for output in ("label", "score"):
        expected, found = answers[f"binary_{output}"], answers[f"{way}_{output}"]
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected.tobytes()
