"""The first rows of a data set: its units, the last one cut; and whether there are many."""

import math
from collections.abc import Sequence
from dataclasses import replace

from jobs.reading import read
from jobs.units import Unit

_ROWS, _BYTES = 8192, 8 << 20
_MUCH = 32 << 20
"""Bytes of files that do not say how many rows they hold, of which it is not worth while to count more."""


def limited(units: Sequence[Unit], most: int) -> list[Unit]:
    """Units of no more than `most` rows in all. Files that do not say how many they hold are read until that is known.

    Raises ConfigError for a file that cannot be read so far.
    """
    left, taken = most, []
    for unit in units:
        if left <= 0:
            break
        rows = min(left, _counted(unit, left)[0] if unit.rows is None else unit.rows)
        taken.append(replace(unit, rows=rows, paths=unit.paths[:rows] if unit.format == "images" else unit.paths))
        left -= rows
    return taken


def holds(units: Sequence[Unit], rows: int) -> bool:
    """Whether there are so many rows, or more than can be counted soon."""
    counted, left = 0, _MUCH
    for unit in units:
        if unit.rows is not None:
            counted += unit.rows
        else:
            more, size = _counted(unit, rows - counted, left)
            counted, left = counted + more, left - size
        if counted >= rows or left <= 0:
            return True
    return False


def _counted(unit: Unit, most: int, most_bytes: float = math.inf) -> tuple[int, int]:
    """Rows of a unit and their bytes, until there are so many of either."""
    rows = size = 0
    for piece in read(unit, _ROWS, _BYTES):
        rows, size = rows + piece.table.num_rows, size + piece.table.nbytes
        if rows >= most or size >= most_bytes:
            break
    return rows, size
