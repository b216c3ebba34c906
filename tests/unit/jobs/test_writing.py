"""Outputs to files and back: every datatype, whole files or none."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from uuid import uuid4

import ml_dtypes
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from configs.errors import ConfigError, NodeError
from configs.tensors import Datatype, TensorSpec
from jobs.columns import to_rows, types
from jobs.reading import read
from jobs.units import find_units
from jobs.writing import Place, check_names, check_types, to_table


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A folder here, and one in fsspec's memory."""
    found = Place(str(tmp_path / "out") if request.param == "local" else f"memory://{uuid4().hex}/out")
    yield found
    found.delete("")


@st.composite
def tensors(draw: st.DrawFn, datatype: Datatype) -> np.ndarray:
    shape = (draw(st.integers(1, 4)), *draw(st.lists(st.integers(1, 3), max_size=2)))
    if datatype is Datatype.BYTES:
        return draw(arrays.arrays(object, shape, elements=st.binary(max_size=4), fill=st.nothing()))
    if datatype in (Datatype.BF16, Datatype.FP16):
        return draw(arrays.arrays(np.float16, shape)).astype(datatype.dtype)
    return draw(arrays.arrays(datatype.dtype, shape))


@pytest.mark.parametrize("format", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("datatype", Datatype)
@settings(max_examples=5)
@given(data=st.data())
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, datatype: Datatype, format: str, data: st.DataObject
) -> None:
    array = data.draw(tensors(datatype))
    if format != "parquet" and datatype is Datatype.BYTES:  # {"b64": …} is text in CSV
        for index in np.ndindex(array.shape):
            array[index] = b"a" + array[index].hex().encode()
    if (format == "jsonl" or array.ndim > 1) and array.dtype != object:  # JSON has no NaN
        array = np.where(np.isfinite(array.astype(np.float64)), array, 0).astype(array.dtype)
    spec = TensorSpec(datatype=datatype, shape=(-1, *array.shape[1:]))
    table = to_table(pa.table({"key": [f"k{n}" for n in range(len(array))]}), {"x": array}, {"x": spec})
    folder = tmp_path_factory.mktemp("x")
    Place(str(folder)).write_table(f"x.{format}", table, format, {"graph": "g"})
    [unit] = find_units([str(folder)])
    [piece] = read(unit, 1000, 1 << 30, types=types({"x": spec}, {}))
    rows, good, bad = to_rows(piece.table, {"x": spec}, {})
    assert (piece.bad, bad, len(good)) == ({}, {}, len(array))
    assert rows["x"].dtype == array.dtype
    wide = np.dtype(np.float64) if array.dtype == ml_dtypes.bfloat16 else array.dtype  # NumPy finds no NaN in bfloat16
    np.testing.assert_array_equal(rows["x"].astype(wide), array.astype(wide))
    assert piece.table["key"].to_pylist() == table["key"].to_pylist()


def test_columns_of_outputs() -> None:
    outputs = {
        "a": np.zeros((2, 3, 2), np.float16),
        "b": np.array([[b"x"], [b"\xff"]], object),
        "c": np.zeros((2, 0), np.int8),
    }
    table = to_table(pa.table({"k": [1, 2]}), outputs)
    pair = pa.list_(pa.list_(pa.float32(), 2), 3)
    assert table.schema.types == [pa.int64(), pair, pa.list_(pa.binary(), 1), pa.list_(pa.int8())]
    free = to_table(pa.table({}), {"a": outputs["a"]}, {"a": TensorSpec.model_validate("FP16[-1, -1, 2]")})
    assert free.schema.types == [pa.list_(pa.list_(pa.float32(), 2))]
    assert free["a"].to_pylist() == table["a"].to_pylist()


def test_names_that_clash() -> None:
    check_names(["a"], ["b"])
    with pytest.raises(ConfigError, match="'a': the graph has an output of this name"):
        check_names(["a", "c"], ["a"])
    with pytest.raises(ConfigError, match="'c': a column can be kept once"):
        check_names(["c", "c"], ["a"])


def test_kept_columns_of_several_types() -> None:
    schemas = {f"{n}.parquet": pa.schema({"a": kind, "b": pa.string()}) for n, kind in enumerate([pa.int32()] * 2)}
    check_types(schemas, ["a", "b"])
    schemas["2.parquet"] = pa.schema({"a": pa.string(), "b": pa.string()})
    with pytest.raises(ConfigError, match=r"'a' cannot be kept: it is int32 in 0\.parquet and string in 2\.parquet"):
        check_types(schemas, ["b", "a"])


def test_outputs_that_are_not_as_declared() -> None:
    spec = TensorSpec.model_validate("FP32[-1, -1, 2]")
    for shape in ([1, 2], [1, 2, 3], [1, 2, 2, 2]):
        with pytest.raises(NodeError, match=r"output 'a' has rows of shape .* declared as FP32\[-1, -1, 2\]"):
            to_table(pa.table({}), {"a": np.zeros(shape, np.float32)}, {"a": spec})


def test_text_formats_say_what_they_cannot_hold(tmp_path: Path) -> None:
    place = Place(str(tmp_path))
    table = pa.table(
        {
            "b": [b"text", b"\xff", None],
            "f": [1.5, float("nan"), None],
            "d": [date(2020, 1, 2)] * 3,
            "s": ["a,\n", "", None],
            "l": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
        }
    )
    place.write_table("x.jsonl", table, "jsonl")
    lines = [orjson.loads(line) for line in place.read("x.jsonl").splitlines()]
    assert lines == [
        {"b": "text", "f": 1.5, "d": "2020-01-02", "s": "a,\n", "l": [1, 2]},
        {"b": {"b64": "/w=="}, "f": None, "d": "2020-01-02", "s": "", "l": None},
        {"b": None, "f": None, "d": "2020-01-02", "s": None, "l": [3, 4]},
    ]
    place.write_table("x.csv", table, "csv")
    assert place.read("x.csv").decode() == (
        '"b","f","d","s","l"\n"text",1.5,"2020-01-02","a,\n","[1,2]"\n'
        '"{""b64"":""/w==""}",nan,"2020-01-02","",\n,,"2020-01-02",,"[3,4]"\n'
    )
    with pytest.raises(ConfigError, match="known are parquet, csv, jsonl"):
        place.write_table("x.xml", table, "xml")


def test_metadata_of_parquet(tmp_path: Path) -> None:
    Place(str(tmp_path)).write_table("a/x.parquet", pa.table({"a": [1]}), metadata={"versions": "{}"})
    assert pq.read_schema(tmp_path / "a" / "x.parquet").metadata == {b"versions": b"{}"}


def test_a_place(place: Place) -> None:
    assert place.read_json("m.json") is None
    assert place.names() == []
    assert not place.exists()
    place.write_json("m.json", {"b": 1, "a": [1]})
    place.write_json("m.json", {"b": 2})
    place.write_lines("errors/e.jsonl", ({"row": n, "kept": b"\xff"} for n in range(2)))
    place.write("_x/y", b"1")
    assert place.read_json("m.json") == {"b": 2}
    assert place.read("errors/e.jsonl").splitlines()[1] == b'{"row":1,"kept":{"b64":"/w=="}}'
    assert place.names() == ["_x/y", "errors/e.jsonl", "m.json"]
    assert place.names("errors") == ["errors/e.jsonl"]
    place.delete("errors")
    place.delete("m.json")
    place.delete("m.json")
    assert place.names() == ["_x/y"]
    place.write("bad.json", b"{")
    with pytest.raises(ConfigError, match=r"bad\.json is not JSON"):
        place.read_json("bad.json")
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        place.read("nowhere")


def test_files_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(str(tmp_path))
    place.write("a", b"old")

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jobs.writing.write_file", full)
    with pytest.raises(ConfigError, match="No space left"):
        place.write("a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert place.read("a") == b"old"


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".x.parquet.0123456789ab.part").touch()
    (tmp_path / ".keep").touch()
    place = Place(str(tmp_path))
    assert place.names() == []
    place.tidy()
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == [".keep", "a"]
