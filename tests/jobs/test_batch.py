"""`millrace batch` on a real Ray: the same answers as online, and each row once whatever is killed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.processes import Family
from tests.support.server import ROOT, millrace, train_demo

pytestmark = pytest.mark.timeout(400)
ROWS, PART = 600, 50
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 8})}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of digits with keys."""
    train_demo()
    from sklearn.datasets import load_digits

    images = np.asarray(load_digits().images[:ROWS], np.uint8)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    folder = tmp_path_factory.mktemp("batch")
    pq.write_table(pa.table({"id": list(range(ROWS)), "image": column}), folder / "digits.parquet")
    return folder


def command(folder: Path, output: str, *more: str) -> list[str]:
    options = ["--input", str(folder / "digits.parquet"), "--output", str(folder / output), "--keep", "id"]
    return millrace("batch", "configs/digits.yaml", *options, "--profile", "cpu", "--part-rows", str(PART), *more)


def answers(folder: Path, output: str) -> dict[int, tuple[int, float]]:
    tables = [pq.read_table(file) for file in sorted((folder / output).glob("*.parquet"))]
    table = pa.concat_tables(tables).to_pydict()
    assert len(set(table["id"])) == len(table["id"]), "a row is there twice"
    return {
        key: (int(np.ravel(label)[0]), float(np.ravel(score)[0]))
        for key, label, score in zip(table["id"], table["label"], table["score"], strict=True)
    }


def test_a_job_that_is_killed_goes_on_and_has_each_row_once(digits: Path) -> None:
    subprocess.run(command(digits, "whole"), cwd=ROOT, env=ENVIRONMENT, check=True, timeout=180)
    whole = answers(digits, "whole")
    assert sorted(whole) == list(range(ROWS))
    assert json.loads((digits / "whole/_report.json").read_text())["rows"] == ROWS

    with (digits / "log").open("wb") as log:
        job = subprocess.Popen(
            command(digits, "killed"), cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )
    while len(list((digits / "killed").glob("_done/*"))) < 2:
        assert job.poll() is None, (digits / "log").read_text()
        time.sleep(0.01)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    done = len(list((digits / "killed").glob("_done/*")))
    again = subprocess.run(
        command(digits, "killed", "--resume"), cwd=ROOT, env=ENVIRONMENT, timeout=180, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert done == ROWS // PART or f"of them {done * PART:,} rows by an earlier run" in again.stdout
    assert answers(digits, "killed") == whole


def test_a_process_that_is_killed_is_replaced_and_has_each_row_once(tmp_path: Path) -> None:
    shut, rows = tmp_path / "gate", 40
    shut.touch()
    gates = [str(tmp_path / "open")] * 10 + [str(shut)] * (rows - 10)
    table = {"id": list(range(rows)), "gate": gates, "x": np.arange(rows, dtype=np.float32)}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    options = ["--input", str(tmp_path / "rows.parquet"), "--output", str(tmp_path / "out"), "--keep", "id"]
    job_command = millrace("batch", "tests/support/graphs_yaml/gated.yaml", *options, "--part-rows", "10")
    with (tmp_path / "log").open("wb") as log:
        job = Family(job_command, ENVIRONMENT, log)
    try:
        while not list((tmp_path / "out/_done").glob("*")):  # then its only process stands at the gate
            assert job.child.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.01)
        first = pq.read_table(tmp_path / "out/00000-00000.parquet")["pid"][0].as_py()
        os.kill(first, signal.SIGKILL)
        shut.unlink()
        assert job.child.wait(180) == 0, (tmp_path / "log").read_text()
    finally:
        job.end(grace_s=5)
    found = pa.concat_tables(map(pq.read_table, sorted((tmp_path / "out").glob("*.parquet"))))
    assert sorted(found["id"].to_pylist()) == list(range(rows))
    assert first not in found["pid"].to_pylist()[10:]


def test_what_is_wrong_is_one_message(digits: Path) -> None:
    wrong = subprocess.run(
        command(digits, "none", "--column", "image=pixels"), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert wrong.returncode == 1
    assert "input 'image' (UINT8[-1, 8, 8]): there is no column 'pixels'" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_row_that_ends_its_process_ends_the_job(tmp_path: Path) -> None:
    node = {"call": "tests.support.fatal:exit_at_five", "inputs": {"x": "x"}, "outputs": {"y": "INT64[-1]"}}
    graph = {"name": "g", "inputs": {"x": "INT64[-1]"}, "nodes": {"n": node}, "outputs": {"y": "n.y"}}
    (tmp_path / "g.yaml").write_text(json.dumps(graph))
    pq.write_table(pa.table({"x": list(range(40))}), tmp_path / "in.parquet")
    options = ["--input", str(tmp_path / "in.parquet"), "--output", str(tmp_path / "out"), "--part-rows", "10"]
    ended = subprocess.run(
        millrace("batch", str(tmp_path / "g.yaml"), *options),
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "a process of the job died again each time" in ended.stderr
    assert "Traceback" not in ended.stderr
