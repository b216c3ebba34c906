"""What came of a job: rows that lack, rows that are twice, and whether the files are those of an undisturbed run."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow.parquet as pq

from benchmarks.batch.data import KEY, flat


@dataclass(frozen=True)
class Judged:
    """Of one output."""

    rows_in: int
    answers: int
    bad: int
    lost: int
    """Rows that are neither answered nor among the errors."""
    repeated: int
    """Rows that are there more than once, in whatever file."""
    equal: bool
    """The same files, with the same rows in the same order, as of the undisturbed run."""

    @property
    def right(self) -> bool:
        """Whether each row came out exactly once, as if nothing had happened."""
        return not self.lost and not self.repeated and self.equal


def judge(output: Path, undisturbed: Path, rows: int) -> Judged:
    """Compare an output with another; keys are 0 … rows - 1."""
    answered, refused = list(_answered(output)), list(_refused(output))
    counted = Counter([*answered, *refused])
    lost = sum(key not in counted for key in range(rows))
    repeated = sum(times > 1 for times in counted.values())
    return Judged(rows, len(answered), len(refused), lost, repeated, same(output, undisturbed))


def same(output: Path, other: Path) -> bool:
    """Whether two outputs hold the same answers and errors in files of the same names, to the bit."""
    names = [_names(folder) for folder in (output, other)]
    return names[0] == names[1] and all(_content(output / name) == _content(other / name) for name in names[0])


def done(output: Path) -> dict[str, float]:
    """Finished parts, and when they were, in seconds since 1970."""
    return {file.name: file.stat().st_mtime for file in (output / "_done").glob("*.json")}


def _answered(output: Path) -> Iterable[int]:
    for file in output.glob("*.parquet"):
        yield from flat(pq.read_table(file, columns=[KEY])[KEY]).tolist()


def _refused(output: Path) -> Iterable[int]:
    for file in (output / "_errors").glob("*.jsonl"):
        yield from (orjson.loads(line)["kept"][KEY] for line in file.read_bytes().splitlines())


def _names(folder: Path) -> list[str]:
    found = [*folder.glob("*.parquet"), *(folder / "_errors").glob("*.jsonl")]
    return sorted(str(file.relative_to(folder)) for file in found)


def _content(file: Path) -> object:
    if file.suffix == ".jsonl":
        return file.read_bytes()
    # As bytes: a NaN is not equal to itself.
    return [(name, flat(column).tobytes()) for name, column in _columns(file)]


def _columns(file: Path) -> Iterable[tuple[str, object]]:
    table = pq.read_table(file)
    return zip(table.column_names, table.columns, strict=True)
