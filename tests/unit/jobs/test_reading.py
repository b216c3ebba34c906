"""A unit's rows: all of them, in order, cut in the same places; bad ones are named and take no others with them."""

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from jobs import json_rows, reading, records
from jobs.reading import Piece, read, schema_of
from jobs.units import find_units

MANY = 1 << 30


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Piece]:
    """The only piece of a file with this name and content."""

    def read_all(name: str, content: bytes, types: Mapping[str, pa.DataType] | None = None, **options: Any) -> Piece:
        (tmp_path / name).write_bytes(content)
        [unit] = find_units([str(tmp_path / name)])
        pieces = list(read(unit, MANY, MANY, types=types, **options))
        assert len(pieces) == 1
        assert pieces[0].table.schema == schema_of(unit, types=types, **options)
        return pieces[0]

    return read_all


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few lines make several blocks, and some are too long."""
    monkeypatch.setattr(records, "BLOCK", 16)
    monkeypatch.setattr(records, "LONGEST", 200)


@settings(max_examples=40)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\r", codec="utf-8"), max_size=12), min_size=1, max_size=30
    ),
    rows=st.integers(1, 12),
    most_bytes=st.integers(1, 300),
    format=st.sampled_from(["csv", "jsonl", "parquet"]),
)
def test_pieces_together_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], rows: int, most_bytes: int, format: str
) -> None:
    path = tmp_path_factory.mktemp("whole") / f"x.{format}"
    if format == "parquet":
        pq.write_table(pa.table({"n": range(len(texts)), "t": texts}), path, row_group_size=7)
    elif format == "csv":
        cells = [text.replace('"', '""') for text in texts]
        path.write_bytes("".join(["n,t\n", *(f'{n},"{cell}"\n' for n, cell in enumerate(cells))]).encode())
    else:
        path.write_bytes(b"".join(orjson.dumps({"n": n, "t": t}) + b"\n" for n, t in enumerate(texts)))
    [unit] = find_units([str(path)])
    types = {"n": pa.int64()}
    pieces = list(read(unit, rows, most_bytes, types=types))
    again = list(read(unit, rows, most_bytes, types=types))
    assert [(piece.first_row, piece.bad, piece.table) for piece in pieces] == [
        (piece.first_row, piece.bad, piece.table) for piece in again
    ]
    assert [piece.first_row for piece in pieces] == [piece.table["n"][0].as_py() for piece in pieces]
    assert all(0 < piece.table.num_rows <= rows and not piece.bad for piece in pieces)
    whole = pa.concat_tables([piece.table for piece in pieces])
    assert whole["n"].to_pylist() == list(range(len(texts)))
    assert whole["t"].to_pylist() == texts


def test_row_groups_and_columns_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.units.UNIT_ROWS", 10)
    pq.write_table(pa.table({"a": range(25), "b.c": range(25)}), tmp_path / "x.parquet", row_group_size=10)
    second = find_units([str(tmp_path)])[1]
    pieces = list(read(second, 4, MANY, columns=["b.c"]))
    assert [piece.first_row for piece in pieces] == [10, 14, 18]
    assert pieces[0].table.to_pydict() == {"b.c": [10, 11, 12, 13]}
    with pytest.raises(ConfigError, match=r"no column 'bc'; did you mean 'b\.c'"):
        schema_of(second, columns=["bc"])


def test_bytes_cut_pieces_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [b"x" * 1000] * 20}), tmp_path / "x.parquet")
    [unit] = find_units([str(tmp_path)])
    assert [piece.table.num_rows for piece in read(unit, 100, 5500)] == [5, 5, 5, 5]
    assert [piece.table.num_rows for piece in read(unit, 100, 1)] == [1] * 20


def test_a_file_that_changed_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.units.UNIT_ROWS", 10)
    pq.write_table(pa.table({"a": range(25)}), tmp_path / "x.parquet", row_group_size=10)
    last = find_units([str(tmp_path)])[-1]
    pq.write_table(pa.table({"a": range(5)}), tmp_path / "x.parquet")
    with pytest.raises(ConfigError, match="not the file that was listed"):
        list(read(last, 10, MANY))
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        list(read(last, 10, MANY))


def test_damaged_pages_of_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(1000)}), tmp_path / "x.parquet", compression="zstd")
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[4:2000] = b"\xff" * 1996
    (tmp_path / "x.parquet").write_bytes(content)
    [unit] = find_units([str(tmp_path)])
    with pytest.raises(ConfigError, match=r"x\.parquet"):
        list(read(unit, 10, MANY))


def test_csv_as_people_write_it(load: Callable[..., Piece]) -> None:
    content = b'\xef\xbb\xbfk,"x ""y""",z\r\n007,"a\r\nb",1\r\n\r\n,"",2.0\r\nc\x00,"d,e",3'
    piece = load("x.csv", content, {"z": pa.int64()})
    assert piece.table.to_pydict() == {
        "k": ["007", None, "c\x00"],
        'x "y"': ["a\r\nb", "", "d,e"],
        "z": [1, 2, 3],
    }
    assert piece.bad == {}


def test_bad_rows_of_csv(load: Callable[..., Piece]) -> None:
    content = b"k,x\na,1\nb\nc,2,3\n\xff,4\nd,five\ne,1_0\nf,7\n" + b"g" * 300 + b",8\nh,9\n"
    piece = load("x.csv", content, {"x": pa.float64()})
    assert piece.table["x"].to_pylist() == [1, None, None, 4, None, None, 7, None, 9]
    assert piece.table["k"].to_pylist() == ["a", None, None, None, "d", "e", "f", None, "h"]
    assert {row: why.split(":")[0] for row, why in piece.bad.items()} == {
        1: "the row has 1 columns, the header 2",
        2: "the row has 3 columns, the header 2",
        3: r"column 'k' holds '\\xff', which is not UTF-8",
        4: "column 'x' holds 'five', which is not a number (double)",
        5: "column 'x' holds '1_0', which is not a number (double)",
        7: 'the row has a quote (") that is never closed, or more than 200 bytes',
    }


@pytest.mark.parametrize("rest", [b"", b"d,4\n", b"d,4\n" * 100])
def test_a_quote_that_is_never_closed(load: Callable[..., Piece], rest: bytes) -> None:
    piece = load("x.csv", b'k,x\na,1\nb,"2\nc,3\n' + rest)
    assert piece.table["k"].to_pylist() == ["a", None, "c"] + ["d"] * rest.count(b"d")
    assert list(piece.bad) == [1]


def test_a_cell_of_many_lines(load: Callable[..., Piece], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK", 300)
    monkeypatch.setattr(records, "LONGEST", 1000)
    cell = "\n" * 250
    piece = load("x.csv", f'k,x\na,1\nb,"{cell}"\nc,3\n'.encode())
    assert piece.table["x"].to_pylist() == ["1", cell, "3"]


def test_a_quote_within_a_cell(load: Callable[..., Piece]) -> None:
    piece = load("x.csv", b'k,x\na,5" disk\nb,2\n' + b"c,3\n" * 100)
    assert piece.table["x"].to_pylist() == ['5" disk', "2"] + ["3"] * 100


def test_types_of_csv_cells(load: Callable[..., Piece]) -> None:
    types = {"i": pa.int64(), "f": pa.float64(), "b": pa.bool_(), "l": pa.list_(pa.float64()), "y": pa.binary()}
    content = b'i,f,b,l,y\n1,1e3,true,"[1, 2.5]",\xff\n 2 ,nan,0,[],\n3,.5,False,[1],x\n1.5,1,maybe,7,x\n,,,,\n'
    piece = load("x.csv", content, types)
    assert piece.table["i"].to_pylist() == [1, 2, 3, None, None]
    assert piece.table["b"].to_pylist() == [True, False, False, None, None]
    assert piece.table["l"].to_pylist() == [[1, 2.5], [], [1], None, None]
    assert piece.table["y"].to_pylist() == [b"\xff", None, b"x", b"x", None]
    assert list(piece.bad) == [3]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a,a\n1,2\n", "'a' more than once"),
        (b"\xff\xfea\x00\n\x00", "UTF-16"),
        (b"\xe4,b\n1,2\n", "the header cannot be read"),
        (b"\n\n", "no header"),
        (b'a,"b\n1,2\n', "the header"),
    ],
)
def test_headers_that_cannot_be_read(load: Callable[..., Piece], content: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load("x.csv", content)


@pytest.mark.parametrize("content", [b"a,b", b"a,b\n", b"a,b\r\n\r\n"])
def test_only_a_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    [unit] = find_units([str(tmp_path)])
    assert schema_of(unit).names == ["a", "b"]
    assert sum(piece.table.num_rows for piece in read(unit, 10, MANY)) == 0


def test_compressed_text(load: Callable[..., Piece]) -> None:
    assert load("x.csv.gz", gzip.compress(b"a\n1\n")).table.to_pydict() == {"a": ["1"]}
    assert load("x.ndjson.gz", gzip.compress(b'{"a": 1}\n')).table.to_pydict() == {"a": [1]}


def test_json_lines(load: Callable[..., Piece], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BLOCK", 100)
    content = (
        b'\xef\xbb\xbf{"i": 1, "d": "2020-01-01", "o": {"a": 1}, "l": [1, 2], "n": null}\r\n\n'
        b'{"i": 2, "o": 5, "new": 1}\n{"l": [3], "x": 1}'
    )
    piece = load("x.jsonl", content)
    assert piece.table.to_pydict() == {
        "i": [1, 2, None],
        "d": ["2020-01-01", None, None],
        "o": ['{"a":1}', "5", None],
        "l": [[1, 2], None, [3]],
        "n": [None, None, None],
        "new": [None, 1, None],
    }
    assert piece.bad == {}


def test_bad_lines_of_json(load: Callable[..., Piece], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "FIRST", 30)
    lines = [
        b'{"x": 1}',
        b'{"x": "1"}',
        b'{"x": true}',
        b'{"x": 2.5}',
        b'{"x": 2',
        b"[1]",
        b'{"x": NaN}',
        b'{"x": 3}{"x": 4}',
        b'{"x": "\xff"}',
        b'{"y": 0}',
        b'{"x": 5, "y": "' + b"z" * 300 + b'"}',
        b'{"x": 6}\x00',
        b'{"x": 7, "x": 8}',
    ]
    piece = load("x.jsonl", b"\n".join(lines), {"x": pa.int64()}, columns=["x"])
    assert piece.table["x"].to_pylist() == [1] + [None] * 11 + [8]
    assert list(piece.bad) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert piece.bad[1] == "column 'x' holds \"1\", which is not a whole number (int64)"
    assert piece.bad[4].startswith("the line is not JSON: ")
    assert piece.bad[5] == "the line is JSON, but not an object"
    assert piece.bad[10] == "the line has more than 200 bytes"


def test_bytes_in_json(load: Callable[..., Piece]) -> None:
    piece = load(
        "x.jsonl", b'{"b": "text"}\n{"b": {"b64": "/w=="}}\n{"b": {"b64": "?"}}\n{"b": 1}\n', {"b": pa.binary()}
    )
    assert piece.table["b"].to_pylist() == [b"text", b"\xff", None, None]
    assert list(piece.bad) == [2, 3]


def test_one_json_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b'[{"a": 1}]')
    [unit] = find_units([str(tmp_path)])
    with pytest.raises(ConfigError, match="one JSON object a line"):
        schema_of(unit)


def test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST_IMAGE", 10)
    for name, content in {"a.png": b"png", "b.png": b"", "c.png": b"x" * 11, "d.png": b"gone", "e.jpg": b"jpg"}.items():
        (tmp_path / name).write_bytes(content)
    [unit] = find_units([str(tmp_path)])
    (tmp_path / "d.png").unlink()
    pieces = list(read(unit, 2, MANY))
    assert [piece.first_row for piece in pieces] == [0, 2, 4]
    images = [image for piece in pieces for image in piece.table["image"].to_pylist()]
    assert images == [b"png", None, None, None, b"jpg"]
    assert [sorted(piece.bad) for piece in pieces] == [[1], [0, 1], []]
    assert "has more than 10 bytes" in pieces[1].bad[0]
    assert "d.png cannot be read" in pieces[1].bad[1]
