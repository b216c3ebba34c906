"""What a job answered becomes a version of a lookup table or an index, whole or not at all."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from configs.errors import ConfigError, ModelError
from jobs.job import Asked, Job, prepare, run
from jobs.publish import Form, Published, already, plan, publish
from servables.base import LoadOptions
from servables.load import load_servable
from servables.store import find_version
from servables.versions import verify
from tests.support.jobs import run_here
from tests.support.pages import snippets

ROWS = 40
BAD = 33


def turn(angle: np.ndarray) -> dict[str, np.ndarray]:
    """A node: a vector, and its text; it fails for one row."""
    if (angle == BAD).any():
        raise ValueError("no such angle")
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    return {"vector": vectors, "text": np.array([[b"at", str(each).encode()] for each in angle.tolist()], object)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    node = {"call": f"{__name__}:turn", "inputs": {"angle": "angle"}}
    node["outputs"] = {"vector": "FP32[-1, 2]", "text": "BYTES[-1, 2]"}  # type: ignore[assignment]
    graph: dict[str, Any] = {"name": "turned", "inputs": {"angle": "INT64[-1]"}, "nodes": {"turn": node}}
    for name, outputs in (("both", ["vector", "text"]), ("texts", ["text"])):
        graph["outputs"] = {output: f"turn.{output}" for output in outputs}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(graph))
    table = {"id": [f"k{each}" for each in range(ROWS)], "angle": list(range(ROWS)), "twice": [0, 1] * (ROWS // 2)}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    return tmp_path


def prepared(folder: Path, **fields: Any) -> Job:
    given = {"graph": folder / "both.yaml", "inputs": [str(folder / "in.parquet")], "output": str(folder / "out")}
    given |= {"keep": ("id",), "part_rows": 16, "batch_rows": 8, "root": folder, **fields}
    return prepare(Asked(**given))


def finished(folder: Path, **fields: Any) -> Job:
    job = prepared(folder, **fields)
    run_here(job)
    return job


def published(job: Job, name: str = "turns", form: Form = "lookup", key: str = "id") -> Published:
    return publish(job.place, plan(job, name, key, form))


def test_a_job_becomes_a_lookup_table(folder: Path) -> None:
    done = published(finished(folder))
    assert (done.rows, done.left_out) == (ROWS - 1, 1)
    text = "\n".join(done.lines())
    assert "turns version 1 is published" in text
    assert "39 rows" in text
    assert "rows without an answer, which are not in it: 1" in text
    assert "`lookup: lookups/turns`" in text
    version = find_version(folder / "lookups/turns")
    assert verify(version.path) is not None
    found = load_servable(version.path, LoadOptions())({"key": np.array([b"k7", f"k{BAD}".encode()], object)})
    assert found["found"].tolist() == [True, False]
    assert found["text"][0].tolist() == [b"at", b"7"]
    np.testing.assert_array_equal(found["vector"][0], np.array([np.cos(7), np.sin(7)], np.float32))
    about = json.loads((version.path / "job.json").read_text())
    assert (about["rows"], about["left_out"], about["job"]["graph"]) == (ROWS - 1, 1, "turned")
    assert set(about["job"]) >= {"versions", "graph_digest", "input_digest", "options"}


@pytest.mark.parametrize("form", ["index", "faiss"])
def test_a_job_becomes_an_index(folder: Path, form: Form) -> None:
    done = published(finished(folder), form=form)
    assert "`retrieve: indexes/turns`" in "\n".join(done.lines())
    assert ("recall@10" in "\n".join(done.lines())) == (form == "faiss")
    servable = load_servable(find_version(folder / "indexes/turns").path, LoadOptions(k=2))
    found = servable({"vector": np.array([[np.cos(5), np.sin(5)]], np.float32)})
    assert found["ids"][0, 0] == b"k5"


def test_each_time_it_is_the_next_version_and_an_old_output_will_do(folder: Path) -> None:
    published(finished(folder), "store/turns")
    again = prepared(folder, resume=True)
    assert run(again).resumed == ROWS
    assert published(again, "store/turns").pushed.version.number == 2
    assert sorted(path.name for path in (folder / "store/turns").iterdir()) == ["1", "2"]


def test_what_is_published_already_is_known(folder: Path) -> None:
    job = finished(folder)
    wanted = plan(job, "turns", "id")
    assert already(job.place, wanted) is None
    published(job)
    found = already(job.place, wanted)
    assert found is not None
    assert found.number == 1
    assert already(job.place, plan(job, "turns", "id", "index")) is None
    assert already(finished(folder, overwrite=True).place, wanted) is None


def test_the_command_publishes_when_the_job_is_done(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.job.run", lambda job, tell: run_here(job))
    monkeypatch.setattr("jobs.cluster.connected", nullcontext)
    command = ["batch", str(folder / "both.yaml"), "--input", str(folder / "in.parquet"), "--root", str(folder)]
    command += ["--output", str(folder / "out"), "--keep", "id", "--publish", "turns"]
    done = CliRunner().invoke(app, [*command, "--publish-as", "faiss", "--metric", "l2"])
    assert done.exit_code == 0, done.output
    assert "40 rows in 1 part, 1 without an answer" in done.output
    assert "turns version 1 is published" in done.output
    assert json.loads((folder / "indexes/turns/1/index.json").read_text())["metric"] == "l2"
    wrong = CliRunner().invoke(app, [*command, "--resume", "--key", "name"])
    assert "--keep another" in str(wrong.exception)
    monkeypatch.setattr("jobs.cluster.connected", None)  # what is finished needs no Ray
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert "of them 40 rows by an earlier run" in again.output
    assert "lookups/turns/1" in again.output


def test_the_python_of_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    [code] = snippets("docs/lookups.md", "publish", "python")
    monkeypatch.chdir(folder)
    (folder / "both.yaml").rename("recommend.yaml")
    (folder / "items").mkdir()
    (folder / "in.parquet").rename("items/in.parquet")
    monkeypatch.setattr("jobs.job.run", run_here)
    exec(compile(code, "docs/lookups.md", "exec"), {})
    assert capsys.readouterr().out.strip().endswith("lookups/recs/1")


def test_a_row_has_one_key_or_nothing_is_published(folder: Path) -> None:
    job = finished(folder, keep=("id", "twice"))
    for form in ("lookup", "index"):
        with pytest.raises(ModelError, match=r"out is not published: .*0 stands in rows 0 and 2"):
            published(job, key="twice", form=form)  # type: ignore[arg-type]
    assert not list(folder.glob("lookups/*"))
    assert not list(folder.glob("indexes/*"))


def test_what_cannot_be_published_is_said_before_the_job(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"--key user: the output has the columns id, text, vector.*--keep another"):
        plan(prepared(folder), "turns", "user")
    with pytest.raises(
        ConfigError, match=r"one output that is a vector of floats; of text BYTES\[-1, 2\] it could be 0"
    ):
        plan(prepared(folder, graph=folder / "texts.yaml"), "turns", "id", "index")
    with pytest.raises(ConfigError, match=r"the output is csv.*leave out --format csv"):
        plan(prepared(folder, format="csv"), "turns", "id")
    with pytest.raises(ModelError, match=r"'\.turns' cannot be a model's name"):
        plan(prepared(folder), ".turns", "id")
    with pytest.raises(ConfigError, match=r"--publish s3://…@store/turns: .* folder of this machine; .* copy"):
        plan(prepared(folder), "s3://key:secret@store/turns", "id")


@pytest.mark.parametrize(
    ("keep", "key", "form", "why"),
    [
        (("id", "key"), "id", "lookup", "'key' cannot be an output of a lookup"),
        (("id", "when"), "id", "lookup", "'when' is timestamp.*; cast it to numbers or to text"),
        (("when",), "when", "index", "key column 'when' is timestamp.*; keys are text, bytes or integers"),
        ((), "vector", "lookup", "key column 'vector' is fixed_size_list"),
    ],
)
def test_columns_that_cannot_be_published_are_found_before_the_job(
    folder: Path, keep: tuple[str, ...], key: str, form: Form, why: str
) -> None:
    table = pq.read_table(folder / "in.parquet")
    table = table.append_column("key", table["id"]).append_column("when", table["angle"].cast(pa.timestamp("s")))
    pq.write_table(table, folder / "in.parquet")
    with pytest.raises(ModelError, match=why):
        plan(prepared(folder, keep=keep), "turns", key, form)


def test_only_a_finished_job_is_published(folder: Path) -> None:
    job = finished(folder)
    wanted = plan(job, "turns", "id")
    job.place.delete("_done/00000-00001.json")  # parts are not finished in their order
    with pytest.raises(ConfigError, match="holds no output of a job that is finished; --resume"):
        publish(job.place, wanted)
    other = finished(folder, output=str(folder / "csv"), format="csv")
    with pytest.raises(ConfigError, match="the output is csv"):
        publish(other.place, wanted)
    empty = finished(folder, output=str(folder / "empty"))
    for part in empty.place.names("_done"):
        done = empty.place.read_json(part)
        empty.place.write_json(part, {**done, "bad": done["rows"]})
    with pytest.raises(ConfigError, match="no row has an answer"):
        publish(empty.place, replace(wanted, servable="lookups/none"))
    whole = finished(folder, output=str(folder / "damaged"))
    whole.place.write("00000-00001.parquet", b"PAR1")
    with pytest.raises(ConfigError, match=r"00000-00001.parquet cannot be opened"):
        publish(whole.place, wanted)
    assert not (folder / "lookups").exists()
