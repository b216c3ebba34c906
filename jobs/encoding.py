"""Tables as the bytes of a file: Parquet, CSV, JSON lines."""

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv
from pyarrow import types

from configs.errors import ConfigError
from jobs.values import is_number, leaf

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
_CELL = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def encode(table: pa.Table, format: str, metadata: Mapping[str, str]) -> pa.Buffer:
    """The content of a file.

    Parquet carries `metadata` in its schema. CSV and JSONL have no place for it; there binary is text, or
    `{"b64": "…"}` where it is not UTF-8; lists are JSON (in CSV as text); dates and times ISO 8601; NaN and
    infinity, which JSON cannot say, are null in it.

    Raises:
        ConfigError: the format is none of parquet, csv and jsonl.
    """
    if format not in _ENCODERS:
        raise ConfigError(f"format {format!r} is unknown; known are {', '.join(_ENCODERS)}")
    return _ENCODERS[format](table, metadata)


def lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records as JSON lines; bytes as in `encode`, what else JSON has not as its text."""
    return b"".join(orjson.dumps(record, _other, _OPTIONS) for record in records)


def _parquet(table: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata}), sink)
    return sink.getvalue()


def _csv(table: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
    columns = [column if _is_plain(column.type) else _cells(column) for column in table.columns]
    sink = pa.BufferOutputStream()
    arrow_csv.write_csv(pa.table(columns, names=table.column_names), sink)
    return sink.getvalue()


def _is_plain(type: pa.DataType) -> bool:
    """Whether Arrow writes it as we want it."""
    return bool((is_number(type) and type != pa.float16()) or types.is_boolean(type) or type == pa.string())


def _cells(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if value is None else _cell(value) for value in _values(column)], pa.string())


def _cell(value: Any) -> str:
    found = _other(value) if isinstance(value, bytes) else value
    if isinstance(found, str):
        return found
    text = orjson.dumps(found, _other, _CELL).decode()
    return text[1:-1] if text.startswith('"') else text  # a date


def _jsonl(table: pa.Table, metadata: Mapping[str, str]) -> pa.Buffer:
    columns = [_values(column) for column in table.columns]
    names = table.column_names
    rows = zip(*columns, strict=True) if columns else ()
    return pa.py_buffer(lines(dict(zip(names, row, strict=True)) for row in rows))


def _values(column: pa.ChunkedArray) -> Iterable[Any]:
    """A value a row; of lists of one size without nulls views of one array, which is ten times as fast."""
    type, sizes = column.type, []
    if isinstance(type, pa.BaseExtensionType) or not types.is_fixed_size_list(type) or not is_number(leaf(type)):
        return column.to_pylist()  # type: ignore[no-any-return]
    values = column.combine_chunks()
    while types.is_fixed_size_list(values.type) and not values.null_count:
        sizes.append(values.type.list_size)
        values = values.flatten()
    if values.null_count or not is_number(values.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    found = values.to_numpy(zero_copy_only=False)
    found = found.astype(np.float32) if found.dtype == np.float16 else found
    return np.ascontiguousarray(found).reshape(len(column), *sizes)


def _other(value: Any) -> Any:
    """What orjson does not know: bytes, decimals, time spans."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    return str(value)


_ENCODERS: dict[str, Callable[[pa.Table, Mapping[str, str]], pa.Buffer]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
}
FORMATS = tuple(_ENCODERS)
"""That an output can have."""
