"""JSON lines to tables: one object a line; a line that is none is a row of nulls and named."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
from pyarrow import json as arrow_json

from configs.errors import ConfigError
from jobs import records
from jobs.values import REFUSED, infer, to_array

FIRST = 1 << 20
"""Bytes from which the types of the columns follow."""

_NOT_JSON = (b"NaN", b"Inf")


def json_schema(file: Any, name: str, columns: Sequence[str] | None, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """Columns of the lines in the first megabyte, and those asked for; types as `reading.schema_of` says.

    Raises ConfigError for a file that is one JSON array.
    """
    block = next(filter(None, records.records(file, name, records.line_end)), b"")
    if block.lstrip()[:1] == b"[":
        raise ConfigError(f"{name} begins with a list; write one JSON object a line: jq -c '.[]'")
    end = block.rfind(b"\n", 0, FIRST) + 1 or block.find(b"\n") + 1 or len(block)
    lines = [line for line in block[:end].split(b"\n") if line.strip()]
    objects = [found for found in map(_object, lines) if isinstance(found, dict)]
    names = dict.fromkeys([key for found in objects for key in found] if columns is None else columns)
    return pa.schema([(key, types.get(key) or infer([found.get(key) for found in objects])) for key in names])


def json_rows(file: Any, schema: pa.Schema) -> Iterator[tuple[pa.Table, dict[int, str]]]:
    """Tables of the columns of `schema`, and index → reason for rows that are bad, in the order of the file.

    A field that is missing is null, one that the schema has not is passed over; of two alike the last counts.
    """
    for block in records.records(file, "", records.line_end):
        if block is None:
            why = f"the line has more than {records.LONGEST} bytes"
            yield schema.empty_table().take(pa.array([None], pa.int64())), {0: why}
            continue
        lines = [line for line in block.split(b"\n") if line.strip()]
        if lines:
            table = _quick(block, len(lines), schema)
            yield _parsed(lines, schema) if table is None else (table, {})


def _quick(block: bytes, count: int, schema: pa.Schema) -> pa.Table | None:
    """Arrow's parser, where every line is as it should be; it stops at the first that is not."""
    if any(word in block for word in _NOT_JSON) or not schema.names:
        return None
    try:
        block.decode()
        table = arrow_json.read_json(
            pa.BufferReader(block),
            arrow_json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except REFUSED:
        return None
    return table.select(schema.names).cast(schema) if table.num_rows == count else None


def _parsed(lines: Sequence[bytes], schema: pa.Schema) -> tuple[pa.Table, dict[int, str]]:
    objects = [_object(line) for line in lines]
    bad = {index: found for index, found in enumerate(objects) if isinstance(found, str)}
    arrays = []
    for field in schema:
        values = [found.get(field.name) if isinstance(found, dict) else None for found in objects]
        array, misfits = to_array(field.name, values, field.type)
        arrays.append(array)
        bad = misfits | bad
    return pa.table(arrays, schema=schema), dict(sorted(bad.items()))


def _object(line: bytes) -> dict[str, Any] | str:
    """The object in a line, or why there is none."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"the line is not JSON: {error}"
    return found if isinstance(found, dict) else "the line is JSON, but not an object"
