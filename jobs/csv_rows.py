"""CSV to tables: cells are text unless a type is given; a row that does not parse is null and named."""

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import types as arrow_types

from configs.errors import ConfigError
from jobs import records
from jobs.values import REFUSED, to_array, words

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_WHOLE_LINE = re.compile(rb'(?:(?:"(?:[^"]|"")*"[^,"]*|[^",][^,]*|)(?:,|\r?$))+')
_SHOWN = 80

Types = Mapping[str, pa.DataType]


def csv_schema(file: Any, name: str, types: Types) -> pa.Schema:
    """The header's names; each is text but for `types`. Raises ConfigError for no header or one that is not UTF-8."""
    names, _ = _header(next(_blocks(file, name), b""), name)
    return pa.schema([(column, types.get(column, pa.string())) for column in names])


def csv_rows(file: Any, name: str, schema: pa.Schema) -> Iterator[tuple[pa.Table, dict[int, str]]]:
    """Tables of the columns of `schema`, and index → reason for rows that are bad, in the order of the file.

    An empty cell is null, `""` is an empty text. Numbers are written as in Python, with a decimal point.
    """
    blocks = _blocks(file, name)
    names, block = _header(next(blocks, b""), name)
    if block:
        yield _parsed(block, names, schema)
    for each in blocks:
        yield _parsed(each, names, schema) if each is not None else _lost(schema)


def _blocks(file: Any, name: str) -> Iterator[bytes | None]:
    return records.records(file, name, records.quoted_end, lambda line: _WHOLE_LINE.fullmatch(line) is not None)


def _lost(schema: pa.Schema) -> tuple[pa.Table, dict[int, str]]:
    why = f'the row has a quote (") that is never closed, or more than {records.LONGEST} bytes'
    return schema.empty_table().take(pa.array([None], pa.int64())), {0: why}


def _header(block: bytes | None, name: str) -> tuple[list[str], bytes]:
    """Names of the columns, and the rest of the block."""
    if block is None:
        raise ConfigError(f'{name}: the header has a quote (") that is never closed; write it again')
    start = len(block) - len(block.lstrip(b"\r\n"))
    end = start
    while True:
        end = block.find(b"\n", end) + 1 or len(block)
        if end == len(block) or records.quoted_end(block[start:end]) or records.line_end(block[start:end]) == 0:
            break
    try:
        names = next(csv.reader([block[start:end].decode()], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{name}: the header cannot be read ({error}); write the file as UTF-8 CSV") from None
    if not names:
        raise ConfigError(f"{name} has no header; its first line must name the columns")
    return names, block[end:]


def _parsed(block: bytes, names: list[str], schema: pa.Schema) -> tuple[pa.Table, dict[int, str]]:
    bad: dict[int, str] = {}

    def refuse(row: Any) -> str:
        found = row.text if len(row.text) <= _SHOWN else f"{row.text[:_SHOWN]}…"
        bad[row.number - 1] = f"the row has {row.actual_columns} columns, the header {row.expected_columns}: {found}"
        return "skip"

    cells = arrow_csv.read_csv(
        pa.BufferReader(block),
        arrow_csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(schema.names, pa.binary()),
            include_columns=schema.names,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    if bad:
        cells = _with_gaps(cells, bad)
    arrays = []
    for field in schema:
        array, misfits = _typed(field.name, cells[field.name].combine_chunks(), field.type)
        arrays.append(array)
        bad = misfits | bad
    return pa.table(arrays, schema=schema), dict(sorted(bad.items()))


def _with_gaps(cells: pa.Table, bad: Mapping[int, str]) -> pa.Table:
    """A row of nulls in the place of each bad one."""
    good = iter(range(cells.num_rows))
    count = cells.num_rows + len(bad)
    return cells.take(pa.array([None if row in bad else next(good) for row in range(count)], pa.int64()))


def _typed(name: str, cells: pa.Array, type: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    if type == pa.binary():
        return cells, {}
    try:
        return cells.cast(pa.string()).cast(type), {}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    values: list[Any] = []
    bad: dict[int, str] = {}
    for index, cell in enumerate(cells.to_pylist()):
        try:
            values.append(None if cell is None else _value(cell, type))
        except REFUSED:
            values.append(None)
            bad[index] = f"column {name!r} holds {_text_of(cell)}, which is not {_expected(type)}"
    array, misfits = to_array(name, values, type)
    return array, misfits | bad


def _expected(type: pa.DataType) -> str:
    return "UTF-8" if type == pa.string() else words(type)


def _text_of(cell: bytes) -> str:
    return repr(cell[:_SHOWN].decode(errors="backslashreplace")) + ("…" if len(cell) > _SHOWN else "")


def _value(cell: bytes, type: pa.DataType) -> Any:
    """Raises ValueError for a cell that is not of the type."""
    text = cell.decode()
    if arrow_types.is_string(type):
        return text
    if arrow_types.is_nested(type):
        return orjson.loads(text)
    text = text.strip().lower()
    if arrow_types.is_boolean(type):
        if text not in _TRUE + _FALSE:
            raise ValueError(text)
        return text in _TRUE
    if "_" in text:  # Python takes 1_000
        raise ValueError(text)
    if arrow_types.is_integer(type):
        return _whole(text)
    return float(text) if arrow_types.is_floating(type) else pa.scalar(text).cast(type).as_py()


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)  # as pandas writes a whole number beside an empty cell: 12.0
    if not number.is_integer():
        raise ValueError(text)
    return int(number)
