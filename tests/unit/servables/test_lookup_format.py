"""Lookup tables: what is written is found again; what cannot be looked up, or is no table, is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from configs.errors import ModelError, RowErrors
from configs.tensors import TensorSpec
from servables.base import LoadOptions, Servable
from servables.load import load_servable
from servables.lookup_file import FILE, hashed, write_lookup
from servables.memory import Memory, memory_of
from servables.push import push_model

FLAGS = [True, False, True]
TABLE = pa.table(
    {
        "user": ["ann", "bö", ""],
        "score": pa.array([0.5, -1.5, np.nan], pa.float32()),
        "vip": FLAGS,
        "near": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int64())),
        "grid": pa.array([[[1.0], [2.0]]] * 3, pa.list_(pa.list_(pa.float64(), 1), 2)),
        "title": pa.array(["a", "bb", ""]).dictionary_encode(),
        "items": [["x", "yy"], ["", "z"], ["é", "w"]],
    }
)


def lookup(folder: Path, table: pa.Table = TABLE, key: str = "user") -> Servable:
    write_lookup(folder, table, key)
    return load_servable(folder, LoadOptions())


def texts(*values: str) -> np.ndarray:
    return np.array([value.encode() for value in values], object)


def test_rows_are_found_by_text(tmp_path: Path) -> None:
    table = lookup(tmp_path)
    answer = table({"key": texts("bö", "nobody", "", "ann")})
    assert answer["found"].tolist() == [True, False, True, True]
    np.testing.assert_array_equal(answer["score"], np.float32([-1.5, 0, np.nan, 0.5]))
    assert answer["vip"].tolist() == [False, False, True, True]
    assert answer["near"].tolist() == [[3, 4], [0, 0], [5, 6], [1, 2]]
    assert answer["grid"].tolist() == [[[1], [2]], [[0], [0]], [[1], [2]], [[1], [2]]]
    assert answer["title"].tolist() == [b"bb", b"", b"", b"a"]
    assert answer["items"].tolist() == [[b"", b"z"], [b"", b""], ["é".encode(), b"w"], [b"x", b"yy"]]


def test_it_tells_what_it_takes_and_gives(tmp_path: Path) -> None:
    signature = lookup(tmp_path).signature
    assert signature.inputs == {"key": TensorSpec.model_validate("BYTES[-1]")}
    specs = {"score": "FP32[-1]", "vip": "BOOL[-1]", "near": "INT64[-1, 2]", "grid": "FP64[-1, 2, 1]"}
    specs |= {"title": "BYTES[-1]", "items": "BYTES[-1, 2]", "found": "BOOL[-1]"}
    assert signature.outputs == {name: TensorSpec.model_validate(text) for name, text in specs.items()}


@pytest.mark.parametrize("type", [pa.int64(), pa.uint8()])
def test_rows_are_found_by_integers(tmp_path: Path, type: pa.DataType) -> None:
    table = lookup(tmp_path, pa.table({"id": pa.array([9, 0, 100], type), "value": [1.5, 2.5, 3.5]}), "id")
    answer = table({"key": np.array([100, 5, 0, 2**40, -1, 9])})
    assert answer["value"].tolist() == [3.5, 0, 2.5, 0, 0, 1.5]
    assert answer["found"].tolist() == [True, False, True, False, False, True]
    assert table.signature.inputs == {"key": TensorSpec.model_validate("INT64[-1]")}


def test_keys_with_the_same_hash_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servables.lookup_file.hashed", lambda keys: hashed(key[:1] for key in keys))
    table = lookup(tmp_path, pa.table({"k": ["a5", "b", "a1", "a3"], "value": [1, 2, 3, 4]}), "k")
    answer = table({"key": texts("a3", "a1", "a9", "b", "a2", "a5", "a0")})
    assert answer["value"].tolist() == [4, 3, 0, 2, 0, 1, 0]


def test_keys_that_are_no_text_are_their_rows_fault(tmp_path: Path) -> None:
    table = lookup(tmp_path, pa.table({"k": ["None", "5"], "v": [1, 2]}), "k")
    assert table({"key": np.array(["5", b"None"], object)})["v"].tolist() == [2, 1]
    with pytest.raises(RowErrors) as error:
        table({"key": np.array(["5", None, 5, "\ud800", b"\xff"], object)})
    assert set(error.value.reasons) == {1, 2, 3}


def test_every_key_of_many_is_found_among_chunks(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    numbers = rng.permutation(20_000)
    whole = pa.table({"k": [f"user-{number}" for number in numbers], "v": numbers})
    table = lookup(tmp_path, pa.concat_tables([whole.slice(0, 7_000), whole.slice(7_000)]), "k")
    asked = rng.integers(0, 40_000, 5_000)
    answer = table({"key": texts(*(f"user-{number}" for number in asked))})
    np.testing.assert_array_equal(answer["v"], np.where(asked < 20_000, asked, 0))
    np.testing.assert_array_equal(answer["found"], asked < 20_000)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"k": [3, 7, 7], "v": [1, 2, 3]}, "7 stands in rows 1 and 2"),
        ({"k": ["a", "b"], "v": [1, None]}, "'v': row 1 has a null"),
        ({"k": ["a", "b"], "v": [[1, 2], [3, None]]}, "'v': row 1 has a null"),
        ({"k": ["a", "b"], "v": [[1, 2], [3]]}, "'v': row 1 has a list of 1, those before have 2"),
        ({"k": ["a"], "v": pa.array([[]], pa.list_(pa.int8()))}, "lists without elements"),
        ({"k": ["a"], "v": pa.array([1], pa.timestamp("s"))}, "'v' is timestamp.*; cast it to numbers or to text"),
        ({"k": ["a"], "v": pa.array([[{}]])}, "cast it to numbers or to text, or to lists"),
        ({"k": [0.5], "v": [1]}, "keys are text, bytes or integers"),
        ({"k": ["a"], "found": [1]}, "key, _hash and found are taken"),
        ({"k": ["a"], "user name": [1]}, "'user name' cannot be an output"),
        ({"k": ["a"]}, "nothing to look up"),
    ],
)
def test_what_cannot_be_looked_up_is_refused(tmp_path: Path, columns: dict, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        write_lookup(tmp_path, pa.table(columns), "k")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"'v' cannot be an output of a lookup: .* each once"):
        write_lookup(tmp_path, pa.table([[1], [2], [3]], names=["k", "v", "v"]), "k")


def test_files_that_are_no_whole_table_are_refused(tmp_path: Path) -> None:
    write_lookup(tmp_path, TABLE, "user")
    path = tmp_path / FILE
    whole = path.read_bytes()
    plain = pa.BufferOutputStream()
    with pa.ipc.new_file(plain, TABLE.schema) as writer:
        writer.write_table(TABLE)
    cuts = [whole[: len(whole) * part // 8] for part in range(8)]
    for content in (*cuts, plain.getvalue().to_pybytes(), b"\x80\x04." * 100):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"lookup\.arrow does not load as a lookup table: .*push it as a new"):
            load_servable(tmp_path, LoadOptions())


def test_a_compressed_table_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    write_lookup(tmp_path, TABLE, "user")
    path = tmp_path / FILE
    with pa.ipc.open_file(path.read_bytes()) as reader:
        batch = reader.get_batch(0)
    encoded = batch.set_column(0, "encoded", batch["key"].dictionary_encode())
    for batches, words in ([batch], "compressed"), ([batch, batch], "in 2 pieces"), ([encoded], "by a dictionary"):
        codec = "zstd" if words == "compressed" else None
        with pa.ipc.new_file(str(path), batches[0].schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
            for each in batches:
                writer.write_batch(each)
        with pytest.raises(ModelError, match=words):
            load_servable(tmp_path, LoadOptions())


def test_no_flipped_byte_brings_the_process_down(tmp_path: Path) -> None:
    write_lookup(tmp_path, TABLE, "user")
    path = tmp_path / FILE
    whole = path.read_bytes()
    keys = texts("ann", "bö", "nobody")
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            table = load_servable(tmp_path, LoadOptions())
        except ModelError:
            continue
        assert len(table({"key": keys})["found"]) == 3


def test_a_pushed_table_is_verified(tmp_path: Path) -> None:
    source = tmp_path / "made"
    source.mkdir()
    write_lookup(source, TABLE, "user")
    pushed = push_model(source, "users", tmp_path / "lookups")
    assert pushed.format == "lookup"
    table = load_servable(pushed.version.path, LoadOptions())
    assert memory_of(table, pushed.version.path) == Memory()
    path = pushed.version.path / FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        load_servable(pushed.version.path, LoadOptions())
