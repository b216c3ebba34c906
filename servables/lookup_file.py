"""The file of a lookup table: Arrow, sorted so that a key is found in it without reading the rest."""

import re
import zlib
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as arrow_types
from pydantic import TypeAdapter

from configs.errors import ModelError
from configs.tensors import Datatype, TensorSpec
from servables.files import one_line
from servables.keys import check_key, check_once, is_text, keys, plain, whole

FILE = "lookup.arrow"
"""One record batch in the order of `_hash` (there for text keys only) and `key`, with the values behind them.

Values are columns of numbers or large_binary, lists as fixed-size lists of all of a row's elements; BOOL is uint8.
"""
SPECS = b"millrace.lookup"
"""Key in the schema's metadata: JSON, value column → tensor as text."""
KEY, HASH, FOUND = "key", "_hash", "found"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]*")
_AS_JSON: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
_PIECE = 1 << 16
"""Keys that are Python objects at a time."""


def write_lookup(folder: Path, table: pa.Table, key: str) -> None:
    """Write a table as the file of a lookup's version. Takes two to three times as much memory again as the table.

    Args:
        folder: exists; what publishes it is `servables.push`.
        key: the column of keys: text or bytes, or integers of at most 64 bits. Each key stands in one row.
            All other columns are values: numbers, booleans, text or bytes, or lists of these that have one shape.

    Raises:
        ModelError: names the column and the first rows that are wrong; or the disk refuses.
    """
    check_columns(table.schema, key)
    columns = {KEY: keys(table, key)}
    if columns[KEY].type == pa.large_binary():
        columns = {HASH: pa.array(hashed(_each(columns[KEY]))), **columns}
    order = pc.sort_indices(pa.table(columns), [(name, "ascending") for name in columns])
    columns = {name: column.take(order) for name, column in columns.items()}
    check_once(columns[KEY], order, key)
    places = order.to_numpy().astype(np.int64)
    specs: dict[str, str] = {}
    for name in table.column_names:
        if name != key:
            spec, columns[name] = _column(name, whole(name, table[name], _wide(table[name].type)), places)
            specs[name] = str(spec)
    metadata = {**(table.schema.metadata or {}), SPECS: _AS_JSON.dump_json(specs)}
    _write(folder / FILE, pa.RecordBatch.from_pydict(columns).replace_schema_metadata(metadata))


def read_specs(metadata: dict[bytes, bytes] | None) -> dict[str, TensorSpec]:
    """Value column → tensor, of a file's metadata. Raises ValueError."""
    if not metadata or SPECS not in metadata:
        raise ValueError("it is no lookup table of ours")
    return {name: TensorSpec.model_validate(text) for name, text in _AS_JSON.validate_json(metadata[SPECS]).items()}


def hashed(keys: Iterable[bytes]) -> np.ndarray:
    """UINT32 [keys]: their CRC-32. Keys that have the same one lie in order, so that however many do they are found."""
    return np.fromiter(map(zlib.crc32, keys), np.uint32)


def check_columns(schema: pa.Schema, key: str) -> None:
    """Check names and types, which can be done before there is a row.

    Raises:
        ModelError: a table of such columns cannot be looked up by this key.
    """
    check_key(schema, key)
    _check_names(schema.names, key)
    for field in schema:
        leaf = _leaf(field.type)
        if field.name != key and not is_text(leaf) and not any(test(leaf) for test in _NUMBERS):
            raise ModelError(
                f"column {field.name!r} is {field.type}; cast it to numbers or to text, or to lists of these"
            )


def _check_names(names: list[str], key: str) -> None:
    for name in names:
        cannot = name in (KEY, HASH, FOUND) or not _NAME.fullmatch(name)
        if names.count(name) > 1 or (name != key and cannot):
            raise ModelError(
                f"column {name!r} cannot be an output of a lookup: names are of letters, digits, _ and -, each once, "
                f"and {KEY}, {HASH} and {FOUND} are taken; rename it"
            )
    if len(names) == 1:
        raise ModelError(f"the table has no columns beside its keys {key!r}; there is nothing to look up")


def _each(keys: pa.Array) -> Iterator[bytes]:
    for start in range(0, len(keys), _PIECE):
        yield from keys.slice(start, _PIECE).to_pylist()


def _wide(type: pa.DataType) -> pa.DataType:
    """The type without dictionaries and without limits: a column may have more than 2³¹ bytes of text or elements."""
    if arrow_types.is_fixed_size_list(type):
        return pa.list_(_wide(type.value_type), type.list_size)
    if _is_list(type):
        return pa.large_list(_wide(type.value_type))
    return pa.large_binary() if is_text(plain(type)) else plain(type)


def _leaf(type: pa.DataType) -> pa.DataType:
    """The type of what lies in lists of lists."""
    while _is_list(type):
        type = type.value_type
    return plain(type)


def _column(name: str, values: pa.Array, order: np.ndarray) -> tuple[TensorSpec, pa.Array]:
    shape: list[int] = []
    _check_whole(name, values, values)
    lists = values
    while _is_list(values.type):
        shape.append(_length(name, values, lists))
        values = values.flatten()
        _check_whole(name, values, lists)
    picked, datatype = _picked(values, order, prod(shape))
    spec = TensorSpec(datatype=datatype, shape=(-1, *shape))
    return spec, pa.FixedSizeListArray.from_arrays(picked, prod(shape)) if shape else picked


def _picked(values: pa.Array, order: np.ndarray, size: int) -> tuple[pa.Array, Datatype]:
    """The elements of all rows, in the file's order and types."""
    if values.type == pa.large_binary():
        places = (order[:, None] * size + np.arange(size)).reshape(-1)
        return values.take(pa.array(places)), Datatype.BYTES
    elements = values.to_numpy(zero_copy_only=False)
    picked = elements.reshape(len(order), size)[order].reshape(-1)
    datatype = Datatype.of(elements)
    return pa.array(picked.view(np.uint8) if datatype is Datatype.BOOL else picked), datatype


def _check_whole(name: str, values: pa.Array, lists: pa.Array) -> None:
    if values.null_count:
        row = _first_null(values) * len(lists) // len(values)
        raise ModelError(f"column {name!r}: row {row} has a null; a lookup's rows are whole: fill or remove it")


def _length(name: str, values: pa.Array, lists: pa.Array) -> int:
    """How many elements every list has."""
    if arrow_types.is_fixed_size_list(values.type):
        length = int(values.type.list_size)
    else:
        lengths = values.value_lengths().to_numpy()
        length, other = int(lengths[0]), np.flatnonzero(lengths != lengths[0])
        if len(other):
            row = int(other[0]) * len(lists) // len(values)
            raise ModelError(
                f"column {name!r}: row {row} has a list of {lengths[other[0]]}, those before have {length}; "
                "all rows of a lookup have one shape: cut or fill them"
            )
    if not length:
        raise ModelError(f"column {name!r} has lists without elements; leave it out")
    return length


def _first_null(values: pa.Array) -> int:
    return int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0])


def _is_list(type: pa.DataType) -> bool:
    return any(test(type) for test in (arrow_types.is_list, arrow_types.is_large_list, arrow_types.is_fixed_size_list))


_NUMBERS = (arrow_types.is_boolean, arrow_types.is_integer, arrow_types.is_floating)


def _write(path: Path, batch: pa.RecordBatch) -> None:
    try:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {one_line(error)}") from error
