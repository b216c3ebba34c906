"""The rows of a unit, in order and cut in the same places each time; what cannot be read is a bad row, not the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import ConfigError
from configs.problems import nearest
from jobs.csv_rows import csv_rows, csv_schema
from jobs.json_rows import json_rows, json_schema
from jobs.places import open_place, refusals
from jobs.units import Unit
from servables.files import one_line

IMAGE_SCHEMA = pa.schema([("path", pa.string()), ("image", pa.binary())])
"""Columns of a unit of images: the path in its file system, and the content."""
LARGEST_IMAGE = 128 << 20
"""Bytes; a larger file is a bad row."""

_BATCH = 16384
_READERS = 8
_BUFFER = 1 << 20

Types = Mapping[str, pa.DataType]
"""Column → type that its values are read as, for formats that know none (`jobs.columns.types`)."""


@dataclass(frozen=True)
class Piece:
    """Rows of a unit that follow each other. Every row of the file is in the table, also those that are bad."""

    table: pa.Table
    first_row: int
    """Position of the table's first row, counted as in `Unit.first_row`."""
    bad: dict[int, str] = field(default_factory=dict)
    """Index in the table → why the row could not be read. What could not be read of it is null."""

    def slice(self, start: int, rows: int) -> "Piece":
        """So many rows from `start` on."""
        bad = {index - start: why for index, why in self.bad.items() if start <= index < start + rows}
        return Piece(self.table.slice(start, rows), self.first_row + start, bad)


def schema_of(unit: Unit, columns: Sequence[str] | None = None, types: Types | None = None) -> pa.Schema:
    """Columns and types that `read` gives, of the footer, the header or the first megabyte.

    CSV: text, but for `types`. JSONL: as the first megabyte's values are, but for `types`; objects, values of several
    kinds and columns with nothing but null are text (JSON); a field that comes up only later is not read unless it is
    among `columns`.

    Raises:
        ConfigError: the unit cannot be read, has a name twice, or lacks one of `columns`.
    """
    with refusals(unit.name):
        schema = _SCHEMAS[unit.format](unit, columns, types or {})
    names = schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"{unit.name} has {', '.join(map(repr, twice))} more than once; give each column its own name"
        )
    for name in columns or ():
        if name not in names:
            near = nearest(name, names)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(names) or 'none'}"
            raise ConfigError(f"{unit.name} has no column {name!r}; {hint}")
    return pa.schema([schema.field(name) for name in columns]) if columns is not None else schema


def read(
    unit: Unit, rows: int, most_bytes: int, columns: Sequence[str] | None = None, types: Types | None = None
) -> Iterator[Piece]:
    """The unit's rows, in pieces of at most `rows` rows and about `most_bytes` bytes (at least one row).

    Two readings with the same arguments are cut in the same places. A few megabytes beyond a piece are in memory,
    whatever the file's size. CSV and JSONL: a row of a wrong number of columns, that is no JSON, not UTF-8, too long,
    or holds a value that is not of its column's type is bad; so is an image that cannot be read.

    Args:
        columns: which to read; None: all.
        types: what the columns of CSV and JSONL are read as; others are as `schema_of` says.

    Raises:
        ConfigError: the file is not what it was when it was listed, or is damaged.
    """
    schema = schema_of(unit, columns, types)
    with refusals(unit.name):
        yield from _cut(_first(_READS[unit.format](unit, schema, rows, most_bytes), unit.rows), unit, rows, most_bytes)


_Table = tuple[pa.Table, dict[int, str]]


def _first(tables: Iterator[_Table], rows: int | None) -> Iterator[_Table]:
    """So many rows; None: all."""
    left = rows
    for table, bad in tables:
        if left is None or table.num_rows <= left:
            yield table, bad
        else:
            yield table.slice(0, left), {index: why for index, why in bad.items() if index < left}
        left = None if left is None else left - table.num_rows
        if left is not None and left <= 0:
            return


def _cut(tables: Iterator[_Table], unit: Unit, rows: int, most_bytes: int) -> Iterator[Piece]:
    """Join and divide tables as they come. Where is decided by rows and by the mean size of a table's rows."""
    kept: list[Piece] = []
    have, size, position = 0, 0.0, unit.first_row
    for table, bad in tables:
        piece = Piece(table, position, bad)
        position += table.num_rows
        mean = max(table.nbytes / max(table.num_rows, 1), 1e-9)
        while count := piece.table.num_rows:
            take = min(count, rows - have, int((most_bytes - size) / mean))
            if take < 1 and have:
                yield _joined(kept)
                kept, have, size = [], 0, 0.0
                continue
            take = max(take, 1)
            kept.append(piece.slice(0, take))
            have, size = have + take, size + take * mean
            piece = piece.slice(take, count - take)
    if kept:
        yield _joined(kept)


def _joined(pieces: Sequence[Piece]) -> Piece:
    first = pieces[0].first_row
    bad = {piece.first_row - first + index: why for piece in pieces for index, why in piece.bad.items()}
    return Piece(pa.concat_tables([piece.table for piece in pieces]), first, bad)


def _parquet_schema(unit: Unit, columns: Sequence[str] | None, types: Types) -> pa.Schema:
    system = open_place(unit.place)[0]
    with system.open_input_file(unit.paths[0]) as file:
        return pq.read_schema(file).remove_metadata()


def _parquet_rows(unit: Unit, schema: pa.Schema, rows: int, most_bytes: int) -> Iterator[_Table]:
    system = open_place(unit.place)[0]
    with system.open_input_file(unit.paths[0]) as opened:
        file = pq.ParquetFile(opened, buffer_size=_BUFFER, pre_buffer=False)
        groups = list(unit.row_groups or ())
        if groups and groups[-1] >= file.num_row_groups:
            raise ConfigError(f"{unit.name} is not the file that was listed; let nobody change inputs while a job runs")
        batches = file.iter_batches(_batch_rows(file, groups, rows, most_bytes), groups, schema.names)
        try:
            for batch in batches:
                yield pa.Table.from_batches([batch]).select(schema.names).replace_schema_metadata(), {}
        except pa.ArrowInvalid as error:
            raise ConfigError(f"{unit.name} is damaged: {one_line(error)}; write it again") from error


def _batch_rows(file: Any, groups: Sequence[int], rows: int, most_bytes: int) -> int:
    """Rows that are decoded at a time: of the row group with the largest rows they fit into a piece."""
    about = [file.metadata.row_group(number) for number in groups]
    largest = max((group.total_byte_size / max(group.num_rows, 1) for group in about), default=1)
    return max(1, min(rows, int(most_bytes / max(largest, 1)), _BATCH))


def _image_rows(unit: Unit, schema: pa.Schema, rows: int, most_bytes: int) -> Iterator[_Table]:
    system = open_place(unit.place)[0]
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(0, len(unit.paths), _READERS):
            paths = unit.paths[start : start + _READERS]
            contents = list(pool.map(lambda path: _content(system, path), paths))
            images = [content if isinstance(content, bytes) else None for content in contents]
            bad = {index: content for index, content in enumerate(contents) if isinstance(content, str)}
            table = pa.table([pa.array(paths, pa.string()), pa.array(images, pa.binary())], schema=IMAGE_SCHEMA)
            yield table.select(schema.names), bad


def _content(system: Any, path: str) -> bytes | str:
    """A file's content, or why it cannot be had."""
    try:
        with system.open_input_stream(path, compression=None) as file:
            content = file.read(LARGEST_IMAGE + 1)
    except OSError as error:
        return f"{path} cannot be read: {one_line(error)}"
    if len(content) > LARGEST_IMAGE:
        return f"{path} has more than {LARGEST_IMAGE} bytes, the most that an image may have"
    return bytes(content) or f"{path} is empty"


def _csv_schema(unit: Unit, columns: Sequence[str] | None, types: Types) -> pa.Schema:
    with _text(unit) as file:
        return csv_schema(file, unit.name, types)


def _csv_rows(unit: Unit, schema: pa.Schema, rows: int, most_bytes: int) -> Iterator[_Table]:
    with _text(unit) as file:
        yield from csv_rows(file, unit.name, schema)


def _json_schema(unit: Unit, columns: Sequence[str] | None, types: Types) -> pa.Schema:
    with _text(unit) as file:
        return json_schema(file, unit.name, columns, types)


def _json_rows(unit: Unit, schema: pa.Schema, rows: int, most_bytes: int) -> Iterator[_Table]:
    with _text(unit) as file:
        yield from json_rows(file, schema)


def _text(unit: Unit) -> Any:
    return open_place(unit.place)[0].open_input_stream(unit.paths[0], buffer_size=_BUFFER)


_SCHEMAS: dict[str, Callable[[Unit, Sequence[str] | None, Types], pa.Schema]] = {
    "parquet": _parquet_schema,
    "csv": _csv_schema,
    "jsonl": _json_schema,
    "images": lambda unit, columns, types: IMAGE_SCHEMA,
}
_READS: dict[str, Callable[[Unit, pa.Schema, int, int], Iterator[_Table]]] = {
    "parquet": _parquet_rows,
    "csv": _csv_rows,
    "jsonl": _json_rows,
    "images": _image_rows,
}
