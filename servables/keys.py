"""The keys of a table, as lookups and indexes take them: text, bytes or integers, each in one row."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as arrow_types

from configs.errors import ModelError
from servables.files import one_line


def keys(table: pa.Table, name: str) -> pa.Array:
    """The keys of all rows: int64 or large_binary.

    Raises:
        ModelError: there is no such column, or no row; a row has no key; a key is no INT64.
    """
    check_key(table.schema, name)
    if not table.num_rows:
        raise ModelError("the table has no rows; it needs at least one")
    column = table[name]
    found = whole(name, column, pa.large_binary() if is_text(plain(column.type)) else pa.int64())
    if found.null_count:
        row = pc.index(pc.is_null(found), True).as_py()
        raise ModelError(f"key column {name!r}: row {row} has no key (null); leave such rows out")
    return found


def check_key(schema: pa.Schema, name: str) -> None:
    """Raises ModelError unless this column can hold keys."""
    type = plain(column_type(schema, name))
    if not is_text(type) and not arrow_types.is_integer(type):
        raise ModelError(f"key column {name!r} is {type}; keys are text, bytes or integers: cast it")


def check_once(keys: pa.Array, rows: pa.Array, name: str) -> None:
    """Raises ModelError if a key stands in two rows: which, of several the one that stands first in the table.

    Args:
        keys: equal ones side by side.
        rows: the row of each; of equal keys they rise.
    """
    again = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    twice = np.flatnonzero(again.to_numpy(zero_copy_only=False))
    if len(twice):
        numbers = rows.to_numpy()
        place = int(twice[np.argmin(numbers[twice])])
        raise ModelError(
            f"key column {name!r}: {shown(keys[place])} stands in rows {numbers[place]} and {numbers[place + 1]}; a "
            "key has one row: remove the others"
        )


def column_type(schema: pa.Schema, name: str) -> pa.DataType:
    """The type of the one column of this name. Raises ModelError if there is none, or more."""
    if (count := schema.names.count(name)) != 1:
        what = f"there are {count} columns" if count else "there is no column"
        raise ModelError(f"{what} {name!r}; the table has {', '.join(schema.names) or 'none'}: name one of them")
    return schema.field(name).type


def whole(name: str, column: pa.ChunkedArray, type: pa.DataType) -> pa.Array:
    """A column as one array of a type. Raises ModelError for values that do not fit.

    It is cast piece by piece, before the pieces become one: those of string and list count to 2³¹ only.
    """
    try:
        cast = column.cast(type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ModelError(
            f"column {name!r} is {column.type} and cannot become {type}: {one_line(error)}; write it as text"
        ) from error
    return cast.chunk(0) if cast.num_chunks == 1 else cast.combine_chunks()  # which copies even one


def plain(type: pa.DataType) -> pa.DataType:
    """The type without its dictionary."""
    return type.value_type if arrow_types.is_dictionary(type) else type


def is_text(type: pa.DataType) -> bool:
    """Whether it is text or bytes."""
    return any(test(type) for test in _TEXTS)


def shown(key: pa.Scalar) -> str:
    """A key in a message."""
    value = key.as_py()
    return repr(value.decode(errors="replace")) if isinstance(value, bytes) else str(value)


_TEXTS = (
    arrow_types.is_string,
    arrow_types.is_large_string,
    arrow_types.is_string_view,
    arrow_types.is_binary,
    arrow_types.is_large_binary,
    arrow_types.is_binary_view,
    arrow_types.is_fixed_size_binary,
)
