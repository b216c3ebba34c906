"""Samples, checked rows, outputs of several sizes, and the profile: what a job does with its rows beside scoring."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from configs.errors import ConfigError, NodeError
from jobs.job import Asked, Running, prepare, run
from jobs.tally import Finished, Tally
from jobs.working import Working

ROWS = 300
Start = Callable[..., Running]


class Positive(pandera.DataFrameModel):
    """Of a column that no input needs."""

    weight: float = pandera.Field(ge=0)


class Present(pandera.DataFrameModel):
    """Of a column whose nulls would be bad all the same."""

    x: int


def several(x: np.ndarray) -> dict[str, np.ndarray]:
    """A node whose output is as wide as the smallest of its rows, up to three."""
    return {"y": np.repeat(x[:, None], 1 + min(int(x.min()) % 100, 2), axis=1)}


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Begins a job over a table with keys, of four rows a call."""
    node = {"call": f"{__name__}:several", "inputs": {"x": "x"}, "outputs": {"y": "INT64[-1, -1]"}}
    graph = {"name": "g", "inputs": {"x": "INT64[-1]"}, "nodes": {"n": node}, "outputs": {"y": "n.y"}}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(graph))
    x = pa.array([None if n == 50 else n for n in range(ROWS)])
    table = pa.table({"key": list(range(ROWS)), "x": x, "weight": [-1.0 if n % 100 == 7 else 1.0 for n in range(ROWS)]})
    pq.write_table(table, tmp_path / "in.parquet")

    def begin(name: str = "out", **fields: Any) -> Running:
        given = {"inputs": [str(tmp_path / "in.parquet")], "keep": ("key",), "part_rows": 64, "batch_rows": 4}
        return prepare(Asked(tmp_path / "g.yaml", Path.cwd(), output=str(tmp_path / name), **given | fields)).begin()

    return begin


def done(running: Running, most: int | None = None) -> list[Finished]:
    """Do a job here, or so many of its parts."""
    [link] = running.links
    process = Working(link, running.job.graph.root, {})
    parts = [part for unit in running.left for part in running.reader(unit)]
    finished = [running.finishing(process(part)) for part in parts[:most]]
    process.close()
    return finished


def output(running: Running) -> pa.Table:
    """All files, opened as one."""
    return pq.read_table(running.job.place.url)


def errors(running: Running) -> list[dict[str, Any]]:
    place = running.job.place
    return [json.loads(line) for name in place.names("_errors") for line in place.read(name).splitlines()]


def test_outputs_of_several_sizes_stay_in_the_order_of_their_rows(start: Start) -> None:
    running = start()
    done(running)
    found = output(running)
    assert found["key"].to_pylist() == [n for n in range(ROWS) if n != 50]
    assert found["y"].to_pylist()[:5] == [[0], [1], [2], [3], [4] * 3]
    assert {len(row) for row in found["y"].to_pylist()} == {1, 3}
    assert [error["row"] for error in errors(running)] == [50]


def test_an_output_that_is_not_as_declared_ends_the_job(start: Start) -> None:
    running = start()
    specs = {"y": running.finishing.specs["y"].model_copy(update={"shape": (-1, 3)})}
    with pytest.raises(NodeError, match=r"output 'y' has rows of shape \[1\], but is declared as INT64\[-1, 3\]"):
        done(replace(running, finishing=replace(running.finishing, specs=specs)))


def test_a_sample_is_the_same_each_time_and_nothing_else_is_seen_of_the_others(start: Start) -> None:
    running = start(sample=0.3)
    first = done(running)
    taken = [*output(running)["key"].to_pylist(), *(error["row"] for error in errors(running))]
    assert 0.2 < len(taken) / ROWS < 0.4
    assert sum(part.rows for part in first) == len(taken)
    assert sum(part.profiles["inputs"]["x"]["rows"] for part in first) == output(running).num_rows
    begun = start("again", sample=0.3)
    done(begun, most=2)
    again = start("again", sample=0.3, resume=True)
    done(again)
    assert output(again) == output(running)


def test_errors_of_a_sample_say_where_the_row_lies_in_its_file(start: Start) -> None:
    running = start(sample=0.9, check=f"{__name__}:Positive")
    done(running)
    rows = {error["row"] for error in errors(running)}
    assert rows <= {7, 50, 107, 207}
    assert len(rows) > 1
    assert all(error["kept"] == {"key": error["row"]} for error in errors(running))


def test_rows_that_fail_a_check_are_not_scored(start: Start) -> None:
    running = start(check=f"{__name__}:Positive")
    done(running)
    assert [(error["row"], error["stage"], error["reason"]) for error in errors(running)] == [
        (7, "check", "column 'weight': greater_than_or_equal_to(0): -1.0"),
        (50, "read", "input 'x': the value is null"),
        (107, "check", "column 'weight': greater_than_or_equal_to(0): -1.0"),
        (207, "check", "column 'weight': greater_than_or_equal_to(0): -1.0"),
    ]
    assert output(running).num_rows == ROWS - 4
    assert output(running).column_names == ["key", "y"]


def test_nulls_of_rows_that_fail_a_check_are_none_of_the_profile(start: Start) -> None:
    running = start(check=f"{__name__}:Present")
    parts = done(running)
    assert [(error["row"], error["stage"]) for error in errors(running)] == [(50, "check")]
    assert sum(part.profiles["inputs"]["x"]["nulls"] for part in parts) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample": 0}, "sample 0: take a share of the rows above 0, and at most 1"),
        ({"sample": 1.5}, "sample 1.5"),
        ({"check": f"{__name__}:several"}, "it is no DataFrameModel or DataFrameSchema"),
        ({"check": "tests.unit.jobs.test_checks:People"}, "in.parquet does not pass --check .*column 'id' not in"),
        ({"resume": True, "sample": 0.5}, r"was begun with another sample \(1.0 then, 0.5 now\)"),
        ({"resume": True, "check": f"{__name__}:Positive"}, "was begun with another check"),
    ],
)
def test_what_cannot_be(start: Start, fields: dict[str, Any], message: str) -> None:
    start()
    with pytest.raises(ConfigError, match=message):
        start(**fields)


def test_files_whose_kept_columns_are_of_several_types(start: Start, tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": ["a"], "x": [1]}), tmp_path / "more.parquet")
    with pytest.raises(ConfigError, match=r"'key' cannot be kept: it is int64 in .*in.parquet and string in .*more"):
        start(inputs=[str(tmp_path / "*.parquet")])


def test_a_profile_lies_beside_the_output_also_when_a_job_goes_on(start: Start) -> None:
    done(start(), most=2)
    done(start(resume=True))
    again = start(resume=True)
    report = run(again.job)
    found = again.job.place.read_json("_profile.json")
    x, y = found["inputs"]["x"], found["outputs"]["y"]
    assert [x[key] for key in ("datatype", "rows", "nulls", "minimum", "maximum")] == [
        "INT64",
        ROWS - 1,
        1,
        0,
        ROWS - 1,
    ]
    assert x["mean"] == pytest.approx((sum(range(ROWS)) - 50) / (ROWS - 1))
    assert x["quantiles"]["0.5"] == pytest.approx(ROWS / 2, abs=0.05 * ROWS)
    assert (y["rows"], y["finite"]) == (ROWS - 1, sum(map(len, output(again)["y"].to_pylist())))
    assert (report.rows, report.bad) == (ROWS, 1)


def test_the_report_tells_the_memory_of_each_stage(start: Start) -> None:
    running, tally = start(), Tally()
    for part in done(running):
        tally.add(part)
    report = running.report(tally, 1.0)
    assert list(report.peak_mb) == ["read", "n"]
    assert min(report.peak_mb.values()) > 10
    assert any(" MB at most" in line for line in report.lines())
