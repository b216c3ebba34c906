"""A job from files to files, without Ray: what it refuses, what it writes, and how it goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from configs.errors import ConfigError
from jobs.job import Asked, Running, TooManyErrors, prepare, run
from jobs.tally import Finished, Tally
from jobs.working import Working
from jobs.writing import Place

ROWS = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A graph whose placed node refuses rows above 90, and a table with keys."""
    nodes = {
        "double": {"call": "tests.unit.jobs.test_job:double", "inputs": {"x": "x"}},
        "picky": {"call": "tests.unit.jobs.test_job:picky", "inputs": {"y": "double.y"}, "isolate": True},
    }
    for node in nodes.values():
        node["outputs"] = {"y": "INT64[-1]"}
    graph = {"name": "g", "inputs": {"x": "INT64[-1]"}, "nodes": nodes, "outputs": {"y": "picky.y"}}
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(graph))
    table = pa.table({"key": [f"k{i}" for i in range(ROWS)], "x": list(range(ROWS))})
    pq.write_table(table, tmp_path / "in.parquet")
    return tmp_path


def double(x: np.ndarray) -> dict[str, np.ndarray]:
    """A node."""
    return {"y": x * 2}


def picky(y: np.ndarray) -> dict[str, np.ndarray]:
    """A node that fails where any row is above 180."""
    if (y > 180).any():
        raise ValueError("above 180")
    return {"y": y}


def asked(folder: Path, **fields: Any) -> Asked:
    given = {"inputs": [str(folder / "in.parquet")], "output": str(folder / "out"), "keep": ("key",), "part_rows": 16}
    return Asked(graph=folder / "g.yaml", root=Path.cwd(), **{**given, "batch_rows": 4, **fields})


def begun(folder: Path, **fields: Any) -> Running:
    return prepare(asked(folder, **fields)).begin()


def done(running: Running, most: int | None = None) -> list[Finished]:
    """Do a job here, or so many of its parts."""
    job = running.job
    processes = [Working(link, job.graph.root, job.manifest.versions) for link in running.links]
    finished = []
    for unit in running.left:
        for part in running.reader(unit):
            if len(finished) == most:
                break
            for process in processes:
                part = process(part)
            finished.append(running.finishing(part))
    for process in processes:
        process.close()
    return finished


def output(folder: Path, name: str = "out") -> pa.Table:
    files = sorted((folder / name).glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files])


def test_each_row_is_answered_once_and_the_bad_ones_are_named(folder: Path) -> None:
    job = begun(folder)
    finished = done(job)
    assert output(folder).to_pydict() == {
        "key": [f"k{i}" for i in range(91)],
        "y": [2 * i for i in range(91)],
    }
    files = sorted((folder / "out/_errors").iterdir())
    errors = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [error["row"] for error in errors] == list(range(91, 100))
    assert errors[0] == {
        "source": str(folder / "in.parquet"),
        "row": 91,
        "stage": "picky",
        "reason": "node picky failed: ValueError: above 180",
        "kept": {"key": "k91"},
    }
    tally = Tally()
    for part in finished:
        tally.add(part)
    lines = "\n".join(job.report(tally, 2.0).lines())
    assert "100 rows in 7 parts, 9 without an answer" in lines
    assert "50 rows/s" in lines
    assert "picky: " in lines


def test_a_job_goes_on_where_it_stopped(folder: Path) -> None:
    done(begun(folder), most=3)
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").glob("*.parquet")}
    again = begun(folder, resume=True)
    assert [part.name for part in again.before] == ["00000-00000", "00000-00001", "00000-00002"]
    assert len(done(again)) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    whole = asked(folder, output=str(folder / "whole"))
    done(prepare(whole).begin())
    assert output(folder) == output(folder, "whole")
    assert list(begun(folder, resume=True).parts(lambda rows: None)) == []


def test_a_part_that_was_half_written_is_written_again(folder: Path) -> None:
    done(begun(folder), most=2)
    (folder / "out/_done/00000-00001.json").unlink()
    (folder / "out/00000-00001.parquet").write_bytes(b"PAR1")
    assert len(done(begun(folder, resume=True))) == 6
    assert output(folder).num_rows == 91


def test_a_row_of_which_a_kept_column_is_bad_has_no_answer(folder: Path) -> None:
    (folder / "in.csv").write_bytes(b"key,x\nk0,0\n\xff,1\nk2,2\n")
    done(begun(folder, inputs=[str(folder / "in.csv")]))
    assert output(folder).to_pydict() == {"key": ["k0", "k2"], "y": [0, 4]}
    [file] = (folder / "out/_errors").iterdir()
    assert [json.loads(line)["row"] for line in file.read_text().splitlines()] == [1]


def test_what_an_earlier_try_left_goes(folder: Path) -> None:
    job = begun(folder)
    (folder / "out/_errors").mkdir()
    (folder / "out/_errors/00000-00000.jsonl").write_text("{}")
    done(job, most=1)
    assert list((folder / "out/_errors").iterdir()) == []


def test_more_errors_than_allowed_end_the_job_also_when_it_goes_on(folder: Path) -> None:
    done(begun(folder))
    with pytest.raises(TooManyErrors, match=r"9 rows have no answer, more than --max-errors 8"):
        run(prepare(asked(folder, resume=True, max_errors=8)))
    assert run(prepare(asked(folder, resume=True, max_errors=9))).bad == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "holds the output of a job; --resume that job, or --overwrite it"),
        ({"resume": True, "part_rows": 17}, r"was begun with another part_rows \(16 then, 17 now\)"),
        ({"resume": True, "keep": ()}, "was begun with another keep"),
    ],
)
def test_an_output_that_is_there(folder: Path, change: dict[str, Any], message: str) -> None:
    done(begun(folder), most=1)
    with pytest.raises(ConfigError, match=message):
        begun(folder, **change)


def test_another_input_or_graph_is_another_job(folder: Path) -> None:
    done(begun(folder), most=1)
    pq.write_table(pa.table({"key": ["k"], "x": [1]}), folder / "in.parquet")
    graph = (folder / "g.yaml").read_text()
    (folder / "g.yaml").write_text(graph.replace("test_job:double", "test_job:picky").replace("x: x", "y: x", 1))
    with pytest.raises(ConfigError, match=r"another graph, another input: its parts would not go together"):
        begun(folder, resume=True)


def test_overwriting_takes_our_own_output_only(folder: Path) -> None:
    done(begun(folder), most=2)
    assert begun(folder, overwrite=True).before == []
    assert sorted(path.name for path in (folder / "out").rglob("*") if path.is_file()) == ["_manifest.json"]
    (folder / "others").mkdir()
    (folder / "others/notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match=r"others.*notes.txt"):
            begun(folder, output=str(folder / "others"), overwrite=overwrite)
    assert (folder / "others/notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": {"x": "z"}}, r"in.parquet: input 'x' \(INT64\[-1\]\): there is no column 'z'"),
        ({"keep": ("kye",)}, "no column 'kye'; did you mean 'key'"),
        ({"keep": ("x",), "columns": {}}, None),
        ({"inputs": ["nowhere.parquet"]}, "nowhere.parquet"),
        ({"constants": {"n": 1}}, "'n' is no input with one number for all rows"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    folder: Path, fields: dict[str, Any], message: str | None
) -> None:
    if message is None:
        begun(folder, **fields)
        return
    with pytest.raises(ConfigError, match=message):
        begun(folder, **fields)
    assert not (folder / "out").exists()


def test_a_run_that_was_replaced_adds_nothing(folder: Path) -> None:
    first = begun(folder)
    done(first, most=1)
    second = begun(folder, resume=True)
    with pytest.raises(ConfigError, match="was taken over by another run"):
        done(first, most=2)
    assert len(done(second)) == 6
    assert output(folder).num_rows == 91


@pytest.mark.parametrize("name", ["in.parquet", "in.csv", "in.jsonl"])
def test_a_limit_takes_the_first_rows(folder: Path, name: str) -> None:
    (folder / "in.csv").write_text("key,x\n" + "".join(f"k{i},{i}\n" for i in range(ROWS)))
    (folder / "in.jsonl").write_text("".join(f'{{"key": "k{i}", "x": {i}}}\n' for i in range(ROWS)))
    limited = begun(folder, limit=21, inputs=[str(folder / name)])
    assert limited.job.rows == 21
    assert [part.rows for part in done(limited)] == [16, 5]
    assert output(folder).to_pydict()["y"] == [2 * i for i in range(21)]
    with pytest.raises(ConfigError, match=r"another limit \(21 then, None now\)"):
        begun(folder, resume=True, inputs=[str(folder / name)])


def test_who_overwrites_is_alone_before_anything_is_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = begun(folder)
    done(first, most=2)
    listed = Place.names

    def names(place: Place, sub: str = "") -> list[str]:
        found = listed(place, sub)
        with pytest.raises(ConfigError, match="was taken over"):
            done(first, most=1)
        return found

    job = prepare(asked(folder, overwrite=True))
    with monkeypatch.context() as patched:
        patched.setattr(Place, "names", names)
        second = job.begin()
    assert [path.name for path in (folder / "out").rglob("*") if path.is_file()] == ["_manifest.json"]
    assert len(done(second)) == 7


def test_a_file_without_rows_is_read_and_done(folder: Path) -> None:
    (folder / "a.csv").write_text("key,x\n")
    (folder / "b.csv").write_text("key,x\nk1,1\n")
    inputs = [str(folder / name) for name in ("a.csv", "b.csv")]
    assert [part.rows for part in done(begun(folder, inputs=inputs))] == [0, 1]
    assert begun(folder, inputs=inputs, resume=True).left == []


def test_a_finished_job_is_left_as_it_is(folder: Path) -> None:
    first = begun(folder)
    tally = Tally()
    for part in done(first):
        tally.add(part)
    report = first.report(tally, 2.0)
    first.job.place.write_json("_report.json", report.document())
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")}
    assert run(prepare(asked(folder, resume=True))) == report
    assert {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")} == before


def test_rows_of_a_call_stay_what_they_were(folder: Path) -> None:
    begun(folder, batch_rows=4)
    assert dict(begun(folder, resume=True, batch_rows=None).job.manifest.calls) == {"double": 4, "picky": 4}
    with pytest.raises(ConfigError, match=r"another batch_rows \(\{'double': 4, 'picky': 4\} then"):
        begun(folder, resume=True, batch_rows=8)


def test_an_input_in_the_output_is_refused(folder: Path) -> None:
    done(begun(folder))
    with pytest.raises(ConfigError, match=r"out/00000-00000.parquet is an input, and lies in the output"):
        begun(folder, inputs=[str(folder / "out")], overwrite=True)


def test_files_named_as_ours_are_not_a_jobs(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine/00000-00001.csv").write_text("a")
    with pytest.raises(ConfigError, match="files that are no job's"):
        begun(folder, output=str(folder / "mine"), overwrite=True)
