"""Values of JSON or of text cells to Arrow arrays of a given type, exactly; what does not fit is named."""

import base64
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa
from pyarrow import types

from configs.problems import shown

REFUSED = (pa.ArrowException, ValueError, TypeError, OverflowError)
"""What Arrow and Python raise for a value that is not of a type."""


def to_array(name: str, values: Sequence[Any], type: pa.DataType) -> tuple[pa.Array, dict[int, str]]:
    """The values of column `name` as an array, null where one does not fit; and index → reason for those."""
    try:
        return _converted(values, type), {}
    except REFUSED:
        pass
    bad: dict[int, str] = {}
    arrays = []
    for index, value in enumerate(values):
        try:
            arrays.append(_converted([value], type))
        except REFUSED:
            bad[index] = f"column {name!r} holds {shown(value)}, which is not {words(type)}"
            arrays.append(pa.nulls(1, type))
    return pa.concat_arrays(arrays), bad


def infer(values: Sequence[Any]) -> pa.DataType:
    """The type of JSON values; text for objects, for values of several kinds and for nothing but null."""
    try:
        found = pa.array(values).type
    except REFUSED:
        return pa.string()
    inner = leaf(found)
    return pa.string() if types.is_struct(inner) or types.is_null(inner) else found


def leaf(type: pa.DataType) -> pa.DataType:
    """The type of what lies in lists of lists."""
    while types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type):
        type = type.value_type
    return type


def words(type: pa.DataType) -> str:
    """How messages call a type."""
    inner = leaf(type)
    if types.is_integer(inner):
        text = "a whole number" if type == inner else "a list of whole numbers"
    elif types.is_floating(inner):
        text = "a number" if type == inner else "a list of numbers"
    else:
        text = str(type)
    return f"{text} ({inner})" if text != str(type) else text


def is_number(type: pa.DataType) -> bool:
    """Whether it is an integer or a float."""
    return bool(types.is_integer(type) or types.is_floating(type))


def _converted(values: Sequence[Any], type: pa.DataType) -> pa.Array:
    if types.is_string(type):
        return pa.array([_text(value) for value in values], type)
    if types.is_binary(type):
        return pa.array([_bytes(value) for value in values], type)
    natural = pa.array(values)  # with a type given, Arrow would cut off fractions and take true for 1
    if natural.type == type:
        return natural
    came, wanted = leaf(natural.type), leaf(type)
    if not types.is_null(came) and _kind(came) != _kind(wanted):
        raise TypeError(f"{came} is not {wanted}")
    return natural.cast(type, safe=not types.is_floating(wanted))


def _kind(type: pa.DataType) -> str:
    if is_number(type):
        return "number"
    return "text" if types.is_string(type) or types.is_binary(type) else str(type)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, dict) and list(value) == ["b64"]:
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str):
        return value.encode()
    if value is None or isinstance(value, bytes):
        return value
    raise TypeError("not text")
