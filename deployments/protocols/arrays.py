"""JSON text to arrays, strictly: no wraparound, no parsed strings, no ragged rows; and arrays to JSON."""

from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from math import isfinite, prod
from typing import Any

import numpy as np
import orjson

from configs.errors import InvalidInput
from configs.tensors import Datatype
from deployments.protocols.binary import bytes_elements
from deployments.protocols.numbers import NumberList, parse_numbers
from deployments.protocols.request import shown

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
"""What `orjson.loads` returns."""

# array.array packs a list in C and refuses what NumPy would convert: strings, null, fractions, overflow.
_TYPECODES = {
    Datatype.BOOL: "B",
    Datatype.UINT8: "B",
    Datatype.UINT16: "H",
    Datatype.UINT32: "I",
    Datatype.UINT64: "Q",
    Datatype.INT8: "b",
    Datatype.INT16: "h",
    Datatype.INT32: "i",
    Datatype.INT64: "q",
    Datatype.FP16: "d",
    Datatype.BF16: "d",
    Datatype.FP32: "f",
    Datatype.FP64: "d",
}
# BOOL is packed as bytes first, FP16 and BF16 as doubles.
_PACKING = {datatype: (code, np.dtype(code)) for datatype, code in _TYPECODES.items()}
_IN_JSON = "?bhilqBHILQfd"
_SMALL = 256


def parse_json(text: bytes, what: str = "the body") -> Any:
    """The JSON value; `what` is how the message calls the text. Raises InvalidInput."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{what} is not JSON: {error}") from None


def parse_object(body: bytes, expected: str) -> dict[str, Any]:
    """The JSON object that a body must be; `expected` describes it. Raises InvalidInput."""
    return _as_object(parse_json(body), expected)


def parse_tensors(body: bytes, expected: str) -> dict[str, Any]:
    """As `parse_object`, with a `NumberList` in place of each long list of numbers; `from_json` takes it."""
    document = parse_numbers(body)
    return _as_object(parse_json(body) if document is None else document, expected)


def _as_object(document: Any, expected: str) -> dict[str, Any]:
    if type(document) is not dict:
        raise InvalidInput(f"the body is JSON, but not {expected}")
    return document


def from_json(
    name: str,
    data: list[Json] | NumberList,
    datatype: Datatype,
    shape: list[int],
    text: bytes,
    to_bytes: Callable[[Json], bytes] | None = None,
) -> np.ndarray:
    """An array of `shape`, which `check_tensor` has checked, from nested or flat (row-major) lists.

    `text` is the JSON that `data` was parsed from. BYTES elements go through `to_bytes`, which raises TypeError
    for what it does not take; without it they are strings, encoded as UTF-8. BOOL takes true, false, 0 and 1.
    Raises InvalidInput for ragged lists, a wrong number of elements, elements of a wrong type and numbers out of
    the datatype's range (also floats that would become infinite).
    """
    if isinstance(data, NumberList):
        packed_numbers = data.pack(datatype, shape)
        if packed_numbers is not None:
            return packed_numbers
        data = data.to_list()  # to say what is wrong
    flat = _flatten(name, data, shape)
    if datatype is Datatype.BYTES:
        return _bytes_array(name, flat, shape, to_bytes or _utf8)
    code, dtype = _PACKING[datatype]
    try:
        packed = array(code, flat)  # type: ignore[type-var]  # its TypeError is the check
    except (TypeError, OverflowError, ValueError):
        raise _misfit(name, flat, _unpackable(flat, code), datatype) from None
    values = np.ndarray(shape, dtype, packed)
    return _checked(name, values, packed, flat, datatype, text)


def to_json(name: str, values: np.ndarray) -> np.ndarray | list[str]:
    """What orjson writes for an output, with OPT_SERIALIZE_NUMPY: FP16 and BF16 as FP32, BYTES as strings.

    `values` is one-dimensional. Raises InvalidInput for BYTES that are not UTF-8: ask for binary output.
    """
    if values.dtype.kind in "OSU":
        try:
            return [item.decode() for item in bytes_elements(values)]
        except UnicodeDecodeError:
            raise InvalidInput(
                f"output '{name}' holds bytes that are not UTF-8, which JSON cannot carry; ask for binary output"
            ) from None
    return values if values.dtype.char in _IN_JSON else values.astype(np.float32)


def _checked(
    name: str, values: np.ndarray, packed: array, flat: list[Json], datatype: Datatype, text: bytes
) -> np.ndarray:
    if datatype is Datatype.BOOL:
        if values.max() > 1:
            raise _misfit(name, flat, int((values > 1).argmax()), datatype)
        return values.view(np.bool_)
    if _holds_booleans(flat, values, text):
        raise _misfit(name, flat, list(map(type, flat)).index(bool), datatype)
    if datatype in (Datatype.FP16, Datatype.BF16):
        with np.errstate(over="ignore"):
            values = values.astype(datatype.dtype)
    if not _is_integer(datatype) and not _all_finite(values, packed):
        raise _misfit(name, flat, int((~np.isfinite(values)).argmax()), datatype)
    return values


def _holds_booleans(flat: list[Json], values: np.ndarray, text: bytes) -> bool:
    """Whether a list that packed as numbers has true or false in it; the cheap reasons to say no come first."""
    if len(flat) > _SMALL:
        if not ((values == 0) | (values == 1)).any():
            return False
        if b"true" not in text and b"false" not in text:
            return False
    return bool in set(map(type, flat))


def _all_finite(values: np.ndarray, packed: array) -> bool:
    # Summing few float32 as Python floats cannot overflow and is six times faster than two NumPy calls.
    if packed.typecode == "f" and len(packed) <= _SMALL:
        return isfinite(sum(packed))
    return bool(np.isfinite(values).all())


def _flatten(name: str, data: list[Json], shape: Sequence[int]) -> list[Json]:
    """The elements in row-major order, their number checked against `shape`."""
    if type(data) is not list:
        raise InvalidInput(f"input '{name}': data must be a list, not {kind_of(data)}")
    if not data or type(data[0]) is not list:
        if len(data) != prod(shape):
            raise InvalidInput(
                f"input '{name}': shape {shown(list(shape))} needs {prod(shape)} elements, data has {len(data)}"
            )
        return data
    if len(data) != shape[0]:
        raise InvalidInput(f"input '{name}': data has {len(data)} rows, its shape is {shown(list(shape))}")
    level: list[Json] = data
    for axis, size in enumerate(shape[1:], start=1):
        if set(map(type, level)) != ({list} if level else set()) or not set(map(len, level)) <= {size}:  # type: ignore[arg-type]
            raise _ragged(name, level, axis, size, shape)
        level = list(chain.from_iterable(level))  # type: ignore[arg-type]
    return level


def _ragged(name: str, level: list[Json], axis: int, size: int, shape: Sequence[int]) -> InvalidInput:
    wrong = next(item for item in level if type(item) is not list or len(item) != size)
    came = f"a list of {len(wrong)}" if type(wrong) is list else kind_of(wrong)
    return InvalidInput(
        f"input '{name}': data does not fit shape {shown(list(shape))}: "
        f"dimension {axis} needs lists of {size} elements, found {came}"
    )


def _bytes_array(name: str, flat: list[Json], shape: Sequence[int], to_bytes: Callable[[Json], bytes]) -> np.ndarray:
    elements = np.empty(len(flat), dtype=object)
    try:
        elements[:] = [to_bytes(item) for item in flat]
    except TypeError as error:
        raise InvalidInput(f"input '{name}': {error}") from None
    return elements.reshape(shape)


def _utf8(item: Json) -> bytes:
    if type(item) is not str:
        raise TypeError(f"BYTES takes strings, not {kind_of(item)}")
    return item.encode()


def _misfit(name: str, flat: list[Json], index: int, datatype: Datatype) -> InvalidInput:
    return InvalidInput(f"input '{name}': element {index} is {kind_of(flat[index])}; {_takes(datatype)}")


def _unpackable(flat: list[Json], code: str) -> int:
    """Index of the first element that `array(code, …)` refuses, as one of them it does.

    Found by halves, so that nearly all the work is done in C: looking at each element in Python would let one bad
    body hold up every other request for seconds.
    """
    start, end = 0, len(flat)
    while end - start > 1:
        middle = (start + end) // 2
        try:
            array(code, flat[start:middle])  # type: ignore[type-var]
            start = middle
        except (TypeError, OverflowError, ValueError):
            end = middle
    return start


def _takes(datatype: Datatype) -> str:
    if datatype is Datatype.BOOL:
        return "BOOL takes true, false, 1 and 0"
    if not _is_integer(datatype):
        return f"{datatype} takes numbers within its range"
    limits = np.iinfo(datatype.dtype)
    return f"{datatype} takes whole numbers from {limits.min} to {limits.max}"


def _is_integer(datatype: Datatype) -> bool:
    return datatype.dtype.kind in "iu"


def kind_of(item: object) -> str:
    """How a message calls a JSON value."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, dict):
        return "an object"
    if isinstance(item, list | NumberList):
        return "a list"
    if isinstance(item, str):
        return f"the string {shown(item)}"
    return "null" if item is None else shown(item)
