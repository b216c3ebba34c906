"""The file of a lookup table: Arrow, sorted so that a key is found in it without reading the rest."""

import re
import zlib
from collections.abc import Iterable
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

FILE = "lookup.arrow"
"""One record batch in the order of `_hash` (there for text keys only) and `key`, with the values behind them.

Values are columns of numbers or large_binary, lists as fixed-size lists of all of a row's elements; BOOL is uint8.
"""
SPECS = b"millrace.lookup"
"""Key in the schema's metadata: JSON, value column → tensor as text."""
KEY, HASH, FOUND = "key", "_hash", "found"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]*")
_AS_JSON: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


def write_lookup(folder: Path, table: pa.Table, key: str) -> None:
    """Write a table as the file of a lookup's version. Takes as much memory again as the table.

    Args:
        folder: exists; what publishes it is `servables.push`.
        key: the column of keys: text or bytes, or integers of at most 64 bits. Each key stands in one row.
            All other columns are values: numbers, booleans, text or bytes, or lists of these that have one shape.

    Raises:
        ModelError: names the column and the first rows that are wrong; or the disk refuses.
    """
    if key not in table.column_names or not table.num_rows:
        has = ", ".join(table.column_names) if table.num_rows else "no rows"
        raise ModelError(f"a lookup needs a column of keys {key!r} and at least one row; the table has {has}")
    _check_names(table.column_names, key)
    keys = _keys(key, _whole(table[key]))
    columns = {KEY: keys}
    if keys.type == pa.large_binary():
        columns = {HASH: pa.array(hashed(keys.to_pylist())), **columns}
    order = pc.sort_indices(pa.table(columns), [(name, "ascending") for name in columns])
    columns = {name: column.take(order) for name, column in columns.items()}
    _check_once(columns[KEY], order)
    places = order.to_numpy().astype(np.int64)
    specs: dict[str, str] = {}
    for name in table.column_names:
        if name != key:
            spec, columns[name] = _column(name, _whole(table[name]), places)
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
    return np.array([zlib.crc32(key) for key in keys], np.uint32)


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


def _whole(column: pa.ChunkedArray) -> pa.Array:
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return array.dictionary_decode() if arrow_types.is_dictionary(array.type) else array


def _keys(name: str, keys: pa.Array) -> pa.Array:
    if keys.null_count:
        raise ModelError(f"key column {name!r}: row {_first_null(keys)} has no key (null); leave such rows out")
    if not _is_text(keys.type) and not arrow_types.is_integer(keys.type):
        raise ModelError(f"key column {name!r} is {keys.type}; keys are text, bytes or integers: cast it")
    try:
        return keys.cast(pa.large_binary() if _is_text(keys.type) else pa.int64())
    except pa.ArrowInvalid as error:
        raise ModelError(f"key column {name!r}: {error}; integer keys are INT64: write larger ones as text") from error


def _check_once(keys: pa.Array, order: pa.Array) -> None:
    """Raises ModelError if a key stands in two rows; of several the one that stands first in the table."""
    again = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    twice = np.flatnonzero(again.to_numpy(zero_copy_only=False))
    if len(twice):
        rows = order.to_numpy()
        place = twice[np.argmin(rows[twice])]
        raise ModelError(
            f"key {keys[place].as_py()!r} stands in rows {rows[place]} and {rows[place + 1]}; a key has one row: "
            "remove the others"
        )


def _column(name: str, values: pa.Array, order: np.ndarray) -> tuple[TensorSpec, pa.Array]:
    shape: list[int] = []
    if isinstance(values.type, pa.BaseExtensionType):
        raise ModelError(f"column {name!r} is {values.type}; write it as lists")
    _check_whole(name, values, values)
    lists = values
    while _is_list(values.type):
        shape.append(_length(name, values, lists))
        values = values.flatten()
        _check_whole(name, values, lists)
    picked, datatype = _picked(name, values, order, prod(shape))
    spec = TensorSpec(datatype=datatype, shape=(-1, *shape))
    return spec, pa.FixedSizeListArray.from_arrays(picked, prod(shape)) if shape else picked


def _picked(name: str, values: pa.Array, order: np.ndarray, size: int) -> tuple[pa.Array, Datatype]:
    """The elements of all rows, in the file's order and types."""
    if _is_text(values.type):
        places = (order[:, None] * size + np.arange(size)).reshape(-1)
        return values.cast(pa.large_binary()).take(pa.array(places)), Datatype.BYTES
    if not any(test(values.type) for test in _NUMBERS):
        raise ModelError(f"column {name!r} has elements of type {values.type}; cast them to numbers or to text")
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


def _is_text(type: pa.DataType) -> bool:
    return any(test(type) for test in _TEXTS)


_TEXTS = (
    arrow_types.is_string,
    arrow_types.is_large_string,
    arrow_types.is_binary,
    arrow_types.is_large_binary,
    arrow_types.is_fixed_size_binary,
)
_NUMBERS = (arrow_types.is_boolean, arrow_types.is_integer, arrow_types.is_floating)


def _write(path: Path, batch: pa.RecordBatch) -> None:
    try:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {one_line(error)}") from error
