"""Long lists of numbers in JSON, packed into arrays without a Python object for each number."""

from math import prod
from typing import Any, Literal

import numpy as np
import orjson
import simdjson

from configs.tensors import Datatype

_LONG_TEXT = 4096
"""Bytes of JSON from which looking for long lists pays."""
_LARGEST_TEXT = 2 * 0xFFFFFF
"""Bytes of JSON in which no list can have more elements than simdjson counts; pysimdjson's `as_list` would write past
the end of its list."""
_LONG_LIST = 64
"""Elements of a list from which packing it pays."""
_LONG_ROW = 8
"""Numbers of an innermost list from which looking at each such list is quicker than reading it."""
_MANY = 32
"""Keys of an object, or elements of a list that is not packed, from which it is no longer quicker."""
_DEPTH = 2
"""How deep the objects lie that hold tensors: v2 has them in a list within the document."""
_MAX_RANK = 64
_WIDE = {"i": np.dtype(np.int64), "u": np.dtype(np.uint64), "d": np.dtype(np.float64)}
"""What simdjson packs numbers as; every other datatype is narrowed from one of these."""


class NumberList:
    """A list of numbers, or nested lists of one shape, as simdjson has it: unread until it is packed."""

    __slots__ = ("_array", "_single", "shape")

    def __init__(self, array: simdjson.Array, shape: list[int], single: bool = False) -> None:
        self._array = array
        self._single = single
        self.shape = shape

    def __repr__(self) -> str:
        return f"<numbers of shape {self.shape}>"

    def as_row(self) -> "NumberList":
        """The same numbers as the only row."""
        return NumberList(self._array, [1, *self.shape], single=True)

    def pack(self, datatype: Datatype, shape: list[int]) -> np.ndarray | None:
        """The numbers as an array of `shape`, or None if any is no number or not one of `datatype`."""
        if datatype in (Datatype.BOOL, Datatype.BYTES):  # BOOL: 0 and 1 mix with true and false
            return None
        if shape != self.shape and self.shape != [prod(shape)]:
            return None
        kind = datatype.dtype.kind
        code: Literal["i", "u", "d"] = "u" if kind == "u" else "i" if kind == "i" else "d"
        try:
            wide = np.frombuffer(self._array.as_buffer(of_type=code), _WIDE[code])
        except (TypeError, ValueError):  # true, null, a string; a fraction for an integer; out of 64 bits
            return None
        if wide.size != prod(shape):
            return None
        values = _narrowed(wide, datatype)
        return None if values is None else values.reshape(shape)

    def to_list(self) -> list[Any]:
        """The Python list that `orjson.loads` would have made."""
        elements: list[Any] = self._array.as_list()
        return [elements] if self._single else elements


def parse_numbers(text: bytes) -> Any:
    """The JSON value with a `NumberList` for each long list of numbers; None where `orjson.loads` should read it.

    None: for a short text, for no JSON, and if any list that begins with a number turns out ragged or mixed.
    """
    if not _LONG_TEXT <= len(text) <= _LARGEST_TEXT or text.startswith(b"\xef\xbb\xbf"):  # simdjson skips a BOM
        return None
    found: list[NumberList] = []
    try:
        document = _unwrap(simdjson.Parser().parse(text), found)
        outside = orjson.dumps(document, default=lambda _: None).count(b"[")
    except (ValueError, KeyError, RuntimeError, TypeError):  # no JSON; a NUL in a key; beyond 64 bits; too deep
        return None
    if not found or b"\\u005b" in text or b"\\u005B" in text:  # a bracket that cannot be counted
        return None
    # Were there a list where a number should be, the text would have more brackets than these shapes and the rest.
    inside = sum(prod(numbers.shape[:axis]) for numbers in found for axis in range(len(numbers.shape)))
    return document if text.count(b"[") == inside + outside else None


def _unwrap(value: Any, found: list[NumberList], depth: int = 0) -> Any:
    """What a document of tensors holds at its top; whatever else there is, simdjson makes Python objects of."""
    if type(value) is simdjson.Array:
        return _unwrap_list(value, found, depth)
    if type(value) is not simdjson.Object:
        return value
    if depth > _DEPTH:
        return value.as_dict()
    _refuse_many(value)
    keys = list(value)
    if len(set(keys)) < len(keys):  # orjson takes the last of them
        raise ValueError("twice")
    return {key: _unwrap(value[key], found, depth + 1) for key in keys}


def _unwrap_list(value: simdjson.Array, found: list[NumberList], depth: int) -> Any:
    shape, first = _shape_of(value)
    if type(first) is simdjson.Object and len(shape) == 1:
        _refuse_many(value)
        return [_unwrap(item, found, depth + 1) for item in value]
    if type(first) not in (int, float) or prod(shape) < _LONG_LIST or shape[-1] < _LONG_ROW:
        _refuse_many(value)
        return value.as_list()
    if not _is_regular(value, shape):
        raise ValueError("ragged")
    found.append(NumberList(value, shape))
    return found[-1]


def _refuse_many(value: simdjson.Object | simdjson.Array) -> None:
    # Each costs a microsecond here and a tenth of it in orjson; a hostile body holds a million.
    if len(value) > _MANY:
        raise ValueError("many")


def _shape_of(value: Any) -> tuple[list[int], Any]:
    """Sizes along the first elements, and the first element that is no list."""
    shape: list[int] = []
    while type(value) is simdjson.Array and len(shape) < _MAX_RANK:
        shape.append(len(value))
        value = value[0] if len(value) else None
    return shape, value


def _is_regular(value: Any, shape: list[int]) -> bool:
    """Whether all lists but the elements of the innermost ones have the sizes of `shape`."""
    if type(value) is not simdjson.Array or len(value) != shape[0]:
        return False
    return len(shape) == 1 or all(_is_regular(item, shape[1:]) for item in value)


def _narrowed(wide: np.ndarray, datatype: Datatype) -> np.ndarray | None:
    dtype = datatype.dtype
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        fits = limits.min <= wide.min() and wide.max() <= limits.max
        return wide.astype(dtype) if fits else None
    with np.errstate(over="ignore"):
        values = wide.astype(dtype)
    return values if np.isfinite(values).all() else None
