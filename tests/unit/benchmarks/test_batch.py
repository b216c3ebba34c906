"""The pure parts of the benchmark of batch jobs: what is judged, what is written. No job runs."""

import math
import os
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.batch.curve import File, files_of, steady
from benchmarks.batch.data import KEY, flat, outputs_of, write
from benchmarks.batch.faults import report as faults_report
from benchmarks.batch.faults.judge import Judged, done, judge
from benchmarks.batch.faults.kills import FAULTS
from benchmarks.batch.faults.outcome import Disturbed, Undisturbed
from benchmarks.batch.faults.outcome import Outcome as Faults
from benchmarks.batch.launch import WAYS
from benchmarks.batch.memory import taken
from benchmarks.batch.outcome import HTTP, MILLRACE, RAY, Bounded, Outcome, Run, Taken, keep, kept
from benchmarks.batch.report import aims, render
from benchmarks.batch.run import difference
from benchmarks.batch.summary import summarise
from benchmarks.batch.watch import Process, Watch, kind, memory_of
from benchmarks.batch.workloads import WORKLOADS


def run(number: int, way: str, steady_rate: float, whole_s: float = 10.0) -> Run:
    return Run(number, "digits", way, 1000, whole_s, 2.0, 9.0, steady_rate, 3.0, 5_000_000, 1e-7)


def bounded(**changes: int) -> Bounded:
    sizes = {"rows": 100, "data_bytes": 2000, "store_bytes": 200, "store_peak": 150, "spills": 0, "rows_out": 100}
    return Bounded(**(sizes | changes), taken=[Taken("ray: MapWorker", 2, 90_000_000, 95_000_000)], seconds=3.0)


def test_the_steady_rate_leaves_out_the_start_and_the_end() -> None:
    files = [File(20.0, 10), *(File(20.0 + second, 10) for second in range(1, 9)), File(90.0, 10)]
    assert steady(files) == pytest.approx(10)
    assert math.isnan(steady(files[:1]))
    assert math.isnan(steady([]))


def test_files_tell_when_they_were_whole(tmp_path: Path) -> None:
    for start, at in ((0, 1007.0), (2, 1003.0)):
        write(tmp_path, start, "x", np.zeros((2, 3), np.float32))
        os.utime(tmp_path / f"{start:010d}.parquet", (at, at))
    assert files_of(tmp_path, 1000.0) == [File(3.0, 2), File(7.0, 2)]


def test_columns_are_read_whoever_wrote_them(tmp_path: Path) -> None:
    keys, values = pa.array([1, 0]), np.arange(4, dtype=np.float32).reshape(2, 2)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 2)
    for column in (pa.FixedShapeTensorArray.from_numpy_ndarray(values), lists, pa.array(values.tolist())):
        pq.write_table(pa.table({KEY: keys, "y": column}), tmp_path / "a.parquet")
        found, columns = outputs_of(tmp_path, ("y",))
        assert found.tolist() == [0, 1]
        assert columns["y"].tolist() == [[2, 3], [0, 1]]
    assert flat(pa.chunked_array([[1], [2, 3]])).tolist() == [1, 2, 3]


def test_answers_must_be_those_of_millrace_and_each_row_there_once() -> None:
    keys, score = np.arange(3), np.array([[0.5], [1], [2]])
    expected = (keys, {"score": score, "label": np.array([[1], [2], [3]])})
    near = (keys, {"score": score + 1e-6, "label": np.array([[1], [2], [3]])})
    assert difference(RAY, near, expected, 3) == pytest.approx(1e-6)
    with pytest.raises(RuntimeError, match="differs by"):
        difference(RAY, (keys, {"score": score + 0.1}), expected, 3)
    with pytest.raises(RuntimeError, match="are others"):
        difference(RAY, (keys, {"label": np.array([[1], [2], [4]])}), expected, 3)
    with pytest.raises(RuntimeError, match="not each of the 4 once"):
        difference(RAY, expected, expected, 4)


def test_ratios_are_taken_within_each_round_and_then_their_median() -> None:
    runs = [run(1, MILLRACE, 100), run(2, MILLRACE, 50), run(3, MILLRACE, 60, whole_s=5)]
    runs += [run(1, RAY, 100), run(2, RAY, 25), run(3, RAY, 20)]
    found = summarise(runs)[("digits", RAY)]
    assert found.ratios == (1, 2, 3)
    assert (found.steady_ratio, found.whole_ratio) == (2, 1)
    assert math.isnan(summarise([run(1, RAY, 1)])[("digits", RAY)].steady_ratio)


def test_aims_are_missed_by_a_slow_job_lost_rows_and_a_full_store() -> None:
    slow = Outcome({}, "", [run(1, MILLRACE, 94), run(1, RAY, 100), run(1, HTTP, 90)], bounded())
    assert [met for *_, met in aims(slow)] == [False, True, True, True, True]
    full = Outcome({}, "", [], bounded(rows_out=99, spills=1, store_peak=300))
    assert [met for *_, met in aims(full)] == [False, False, False]


def test_the_page_has_every_way_and_is_kept(tmp_path: Path) -> None:
    outcome = Outcome({"date": "today"}, "python -m x", [run(1, way, 100) for way in WAYS], bounded())
    keep(outcome, tmp_path / "outcome.json")
    page = render(kept(tmp_path / "outcome.json"))
    assert page == render(outcome)
    for text in ("`python -m x`", "| ray: MapWorker | 2 | 90 | 95 |", *(way.title for way in WAYS.values())):
        assert text in page


def test_processes_are_known_by_what_they_do() -> None:
    assert kind("ray::MapWorker(MapBatches(Process)).submit\0\0") == "ray: MapWorker(MapBatches(Process)).submit"
    assert kind("ray::IDLE_SpillWorker\0") == "ray: idle"
    assert kind("/site-packages/ray/core/src/ray/raylet/raylet\0--raylet_socket_name=/tmp/x\0") == "raylet"
    assert kind("/usr/bin/python\0-u\0/ray/dashboard/agent.py\0--port=1\0") == "agent.py"
    assert kind("/usr/bin/python\0-c\0from cli.main import main; main()\0batch\0") == "millrace"
    assert kind("/usr/bin/python\0-m\0benchmarks.batch.ways.ray_data\0digits\0") == "benchmarks.batch.ways.ray_data"


def test_memory_is_read_as_the_kernel_writes_it() -> None:
    assert memory_of("Name:\tx\nVmHWM:\t    2048 kB\nRssAnon:\t  1024 kB\n") == (1 << 20, 2 << 20)
    assert memory_of("Name:\tx\nState:\tZ (zombie)\n") == (0, 0)
    [here] = Watch(lambda: [os.getpid(), 2**22 + 1]).once().processes.values()
    assert 0 < here.own_bytes <= here.resident_bytes


def test_the_most_of_each_kind_of_process_is_reported() -> None:
    found = taken([Process("a", 1, 10, 20), Process("b", 1, 30, 30), Process("a", 1, 15, 16)])
    assert found == [Taken("b", 1, 30, 30), Taken("a", 2, 15, 20)]


def output(folder: Path, answers: dict[str, list[int]], errors: dict[str, list[int]]) -> Path:
    """An output with these keys in its parts."""
    for name in ("_errors", "_done"):
        (folder / name).mkdir(parents=True)
    for name, keys in answers.items():
        pq.write_table(pa.table({KEY: keys, "score": np.array(keys) / 2}), folder / f"{name}.parquet")
        (folder / "_done" / f"{name}.json").write_text("{}")
    for name, keys in errors.items():
        lines = [orjson.dumps({"row": key, "kept": {KEY: key}}) for key in keys]
        (folder / "_errors" / f"{name}.jsonl").write_bytes(b"\n".join(lines))
    return folder


def test_each_row_counts_once_wherever_it_is(tmp_path: Path) -> None:
    whole = output(tmp_path / "whole", {"a": [0, 1], "b": [2]}, {"b": [3]})
    same = output(tmp_path / "same", {"a": [0, 1], "b": [2]}, {"b": [3]})
    assert judge(same, whole, 4) == Judged(4, 3, 1, 0, 0, True)
    assert judge(same, whole, 4).right
    assert sorted(done(same)) == ["a.json", "b.json"]
    broken = output(tmp_path / "broken", {"a": [0, 1], "c": [1, 2]}, {"b": [2]})
    assert judge(broken, whole, 4) == Judged(4, 4, 1, 1, 2, False)


def test_other_answers_and_errors_are_not_equal(tmp_path: Path) -> None:
    whole = output(tmp_path / "whole", {"a": [0, 1]}, {"a": [2]})
    order = output(tmp_path / "order", {"a": [1, 0]}, {"a": [2]})
    reason = output(tmp_path / "reason", {"a": [0, 1]}, {"a": [2]})
    (reason / "_errors/a.jsonl").write_text('{"row": 2, "reason": "another", "kept": {"id": 2}}')
    assert [judge(each, whole, 3).equal for each in (order, reason)] == [False, False]


def test_a_lost_row_is_a_missed_aim_and_in_the_table() -> None:
    lost = Disturbed("the driver", 1, True, Judged(100, 97, 2, 1, 0, False), 6.5, 12.25)
    outcome = Faults({"date": "today"}, "python -m x", [Undisturbed(1, 30.0, 40)], [lost])
    assert [met for *_, met in faults_report.aims(outcome)] == [False, True, False]
    row = "| the driver | 1 | with --resume | 100 | 97 | 2 | 1 | 0 | no | 6.5 | 12.2 |"
    assert row in faults_report.render(outcome)


def test_every_workload_has_a_graph_and_every_fault_a_name() -> None:
    assert all(workload.graph.is_file() for workload in WORKLOADS.values())
    assert all(name == fault.name for name, fault in FAULTS.items())
