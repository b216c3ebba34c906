"""How far a job was at which moment, by the files that it left: the same for whatever wrote them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

FROM, TO = 0.1, 0.9
"""Shares of the rows between which the rate is steady: nothing starts any more, and no process has run out of work."""


class File(NamedTuple):
    """A file of the output."""

    at: float
    """When it was whole, in seconds since the start."""
    rows: int


def files_of(folder: Path, started: float) -> list[File]:
    """Files of a finished output, the first first.

    Args:
        started: in seconds since 1970.
    """
    found = [File(file.stat().st_mtime - started, pq.read_metadata(file).num_rows) for file in folder.glob("*.parquet")]
    return sorted(found)


def steady(files: Sequence[File]) -> float:
    """Rows per second from the first file with which `FROM` of the rows are there to the one with `TO` of them.

    NaN if there are too few files to tell.
    """
    total, done = sum(file.rows for file in files), 0
    moments: list[tuple[float, int]] = []
    for file in files:
        done += file.rows
        moments.append((file.at, done))
    begin = next((moment for moment in moments if moment[1] >= FROM * total), (0.0, 0))
    end = next((moment for moment in moments if moment[1] >= TO * total), (0.0, 0))
    return (end[1] - begin[1]) / (end[0] - begin[0]) if end[0] > begin[0] else math.nan
