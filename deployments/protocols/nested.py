"""Tensors as people write them in JSON: nested lists without datatype and shape; bytes as text or `{"b64": "…"}`."""

import base64
from math import prod
from typing import Any

import numpy as np

from configs.errors import InvalidInput
from configs.tensors import Datatype, TensorSpec
from deployments.protocols.arrays import from_json, kind_of
from deployments.protocols.binary import bytes_elements
from deployments.protocols.numbers import NumberList
from deployments.protocols.request import check_tensor, shown

_MAX_RANK = 64


def to_array(name: str, value: Any, spec: TensorSpec, text: bytes) -> np.ndarray:
    """The rows of input `name`, in nested lists; BYTES are strings, `{"b64": "…"}` or the bytes of a file.

    `text` is the JSON that `value` was parsed from. Raises InvalidInput as `check_tensor` and `from_json` do.
    """
    return _rows(name, value, shape_of(value), spec, text)


def row_to_array(name: str, value: Any, spec: TensorSpec, text: bytes) -> np.ndarray:
    """As `to_array` for one row, in lists as deep as a row is; the array has the leading dimension."""
    return _row(name, value, shape_of(value), spec, text)


def either_to_array(name: str, value: Any, spec: TensorSpec, text: bytes) -> tuple[np.ndarray, bool]:
    """Rows, or one row by how deep the lists are; and whether it is one row."""
    shape = shape_of(value)
    if len(shape) == len(spec.shape) - 1 and shape != [0]:
        return _row(name, value, shape, spec, text), True
    return _rows(name, value, shape, spec, text), False


def _rows(name: str, value: Any, shape: list[int], spec: TensorSpec, text: bytes) -> np.ndarray:
    if shape == [0]:
        raise InvalidInput(f"input '{name}' is an empty list: zero rows; send at least one row")
    if not shape:
        raise InvalidInput(f"input '{name}' is {kind_of(value)}, expected lists of shape {list(spec.shape)}")
    check_tensor(name, spec.datatype, shape, spec)
    return from_json(name, value, spec.datatype, shape, text, _element)


def _row(name: str, value: Any, shape: list[int], spec: TensorSpec, text: bytes) -> np.ndarray:
    expected = spec.shape[1:]
    if any(fixed not in (-1, size) for size, fixed in zip(shape, expected, strict=True)):
        raise InvalidInput(
            f"input '{name}' came as one row of shape {shown(shape)}, expected {list(expected)}; "
            f"several rows have the shape {list(spec.shape)}"
        )
    shape = [1, *shape]
    check_tensor(name, spec.datatype, shape, spec)
    row = value.as_row() if type(value) is NumberList else [value]
    return from_json(name, row, spec.datatype, shape, text, _element)


def elements_to_array(name: str, elements: list[Any], spec: TensorSpec, text: bytes) -> np.ndarray:
    """One row from its elements in row-major order; a dimension of any size follows from their number.

    Raises InvalidInput as `to_array` does, and where the row's shape does not follow.
    """
    shape = [1, *spec.shape[1:]]
    free = [axis for axis, size in enumerate(shape) if size == -1]
    if len(free) > 1:
        raise InvalidInput(f"input '{name}' is a flat list, from which no shape {shape[1:]} follows; nest the list")
    for axis in free:
        shape[axis] = max(len(elements) // -prod(shape), 1)
    return from_json(name, elements, spec.datatype, shape, text, _element)


def shape_of(value: Any) -> list[int]:
    """Sizes along the first elements; `from_json` checks that the others agree."""
    if type(value) is NumberList:
        return value.shape
    shape: list[int] = []
    while type(value) is list and len(shape) < _MAX_RANK:
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def to_nested(array: np.ndarray) -> Any:
    """What orjson writes as nested lists, with OPT_SERIALIZE_NUMPY: an array, or lists for BYTES.

    BYTES are strings, or `{"b64": "…"}` where they are not UTF-8. NaN and infinity, which JSON has not, become null.
    """
    if array.dtype.kind in "OSU":
        texts = np.empty(array.size, dtype=object)
        texts[:] = [_text(item) for item in bytes_elements(array)]
        return texts.reshape(array.shape).tolist()
    if Datatype.of(array) in (Datatype.FP16, Datatype.BF16):
        array = array.astype(np.float32)
    return np.ascontiguousarray(array)


def _element(item: Any) -> bytes:
    if type(item) is str:
        return item.encode()
    if type(item) is bytes:
        return item
    if type(item) is dict and list(item) == ["b64"] and type(item["b64"]) is str:
        try:
            return base64.b64decode(item["b64"], validate=True)
        except ValueError as error:  # binascii.Error, or characters that are not ASCII
            raise TypeError(f'the value of "b64" is not base64: {error}') from None
    raise TypeError(f'BYTES takes strings or {{"b64": "…"}}, not {shown(item)}')


def _text(item: bytes) -> str | dict[str, str]:
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}
