"""The first rows of a data set: its units, the last one cut; and whether there are many."""

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
        rows = min(left, _counted(unit, left) if unit.rows is None else unit.rows)
        taken.append(replace(unit, rows=rows, paths=unit.paths[:rows] if unit.format == "images" else unit.paths))
        left -= rows
    return taken


def holds(units: Sequence[Unit], rows: int) -> bool:
    """Whether there are so many rows, or more than can be counted soon."""
    counted = size = 0
    for unit in units:
        if unit.rows is not None:
            counted += unit.rows
        else:
            for piece in read(unit, _ROWS, _BYTES):
                counted, size = counted + piece.table.num_rows, size + piece.table.nbytes
                if counted >= rows or size >= _MUCH:
                    break
        if counted >= rows or size >= _MUCH:
            return True
    return False


def _counted(unit: Unit, most: int) -> int:
    """Rows of a unit, or `most` if it has more."""
    counted = 0
    for piece in read(unit, _ROWS, _BYTES):
        counted += piece.table.num_rows
        if counted >= most:
            break
    return min(counted, most)
