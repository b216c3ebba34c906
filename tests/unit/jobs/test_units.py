"""What a job's inputs are: paths, patterns, folders and URLs; and what is said of those that cannot be read."""

import pickle
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.errors import ConfigError, MissingExtra
from jobs import units
from jobs.units import find_units


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., str]:
    """Write small CSV files of the names given; gives the folder."""

    def write(*names: str) -> str:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("a\n1\n")
        return str(tmp_path)

    return write


def names(found: list[units.Unit], folder: str) -> list[str]:
    return [unit.paths[0].removeprefix(f"{folder}/") for unit in found]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["a.csv", "b/c.csv", "b/d/e.csv.gz"]),
        ("*.csv", ["a.csv"]),
        ("b", ["b/c.csv", "b/d/e.csv.gz"]),
        ("*/*.csv", ["b/c.csv"]),
        ("**/*.csv*", ["a.csv", "b/c.csv", "b/d/e.csv.gz"]),
        ("b/*", ["b/c.csv", "b/d/e.csv.gz"]),
        ("[a-b].csv", ["a.csv"]),
        ("_x.csv", ["_x.csv"]),
    ],
)
def test_patterns(files: Callable[..., str], pattern: str, expected: list[str]) -> None:
    folder = files("a.csv", "b/c.csv", "b/d/e.csv.gz", "_x.csv", ".hidden.csv", "b/_temporary/f.csv", "b/.g/h.csv")
    found = find_units([f"{folder}/{pattern}"])
    assert names(found, folder) == expected
    assert [unit.index for unit in found] == list(range(len(found)))


def test_order_and_repetition_of_inputs_do_not_matter(files: Callable[..., str]) -> None:
    folder = files("a.csv", "b.csv")
    assert find_units([f"{folder}/b.csv", folder, f"file://{folder}/a.csv"]) == find_units([folder])
    assert pickle.loads(pickle.dumps(find_units([folder]))) == find_units([folder])


def test_a_changed_file_has_another_stamp(files: Callable[..., str]) -> None:
    folder = files("a.csv")
    before = find_units([folder])[0].stamp
    (Path(folder) / "a.csv").write_text("a\n1\n2\n")
    assert find_units([folder])[0].stamp != before


def test_large_parquet_files_are_several_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "UNIT_ROWS", 20)
    pq.write_table(pa.table({"a": range(45)}), tmp_path / "x.parquet", row_group_size=10)
    pq.write_table(pa.table({"a": range(0)}), tmp_path / "y.parquet")
    found = find_units([str(tmp_path)])
    assert [(unit.row_groups, unit.first_row, unit.rows) for unit in found] == [
        ((0, 1), 0, 20),
        ((2, 3), 20, 20),
        ((4,), 40, 5),
    ]


def test_images_are_grouped(files: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "UNIT_IMAGES", 2)
    found = find_units([files("a.png", "b.JPG", "c.webp")])
    assert [(len(unit.paths), unit.first_row, unit.rows) for unit in found] == [(2, 0, 2), (1, 2, 1)]


def test_a_format_that_is_given_chooses_among_a_folders_files(files: Callable[..., str]) -> None:
    folder = files("a.csv", "b.png", "part-0", "c/part-1")
    assert names(find_units([folder], "images"), folder) == ["b.png"]
    assert names(find_units([f"{folder}/c"], "csv"), folder) == ["c/part-1"]


def test_a_url(files: Callable[..., str]) -> None:
    root = f"memory://{uuid4().hex}"
    memory = fsspec.filesystem("memory")
    memory.pipe(f"{root}/a.csv", b"a\n1\n")
    memory.pipe(f"{root}/d/b.csv", b"a\n1\n")
    assert len(find_units([root])) == 2
    [unit] = find_units([f"{root}/*.csv"])
    assert unit.name.startswith("memory://")
    assert unit.name.endswith("/a.csv")


@pytest.mark.parametrize(
    ("present", "asked", "says"),
    [
        ([], "nowhere.csv", "nowhere.csv does not exist"),
        ([], "nowhere/*.csv", "nowhere/\\*.csv does not exist"),
        (["_a.csv"], "", "holds no file to read"),
        (["a.csv"], "*.parquet", "no file matches among 1"),
        (["a.csv", "b.jsonl"], "", "several formats \\(1 csv, 1 jsonl\\)"),
        (["a.csv", "README"], "", "README: the suffix tells no format"),
        (["a.parquet"], "", "a.parquet \\(4 bytes\\) is no whole Parquet file"),
    ],
)
def test_inputs_that_cannot_be_read(files: Callable[..., str], present: list[str], asked: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        find_units([f"{files(*present)}/{asked}"])


def test_half_written_and_empty_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    with pytest.raises(ConfigError, match="every file is empty"):
        find_units([str(tmp_path)])
    pq.write_table(pa.table({"a": range(45)}), tmp_path / "x.parquet")
    half = (tmp_path / "x.parquet").read_bytes()[:-10]
    for content in (half, b""):
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(ConfigError, match="let its writer end"):
            find_units([str(tmp_path / "x.parquet")])


def test_nonsense() -> None:
    with pytest.raises(ConfigError, match="known are parquet"):
        find_units(["x"], "xml")
    with pytest.raises(ConfigError, match="there is no input"):
        find_units([])
    with pytest.raises((ConfigError, MissingExtra), match="nonsense://…@a/b"):
        find_units(["nonsense://user:secret@a/b"])
