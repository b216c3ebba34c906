"""How columns of lists and tensors lie in memory, without their extension types and dictionaries."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types as arrow_types

from configs.tensors import Datatype
from jobs.values import leaf


def levels(type: pa.DataType) -> tuple[pa.DataType, tuple[int, ...]]:
    """The type of the elements, and the size of each level of lists; -1 where rows may differ."""
    if isinstance(type, pa.BaseExtensionType):
        shape = getattr(type, "shape", None)
        inner = type.storage_type
        if shape is None:
            return levels(inner)
        return _plain(leaf(inner)), tuple(shape[axis] for axis in _order(type, len(shape)))
    sizes = []
    while (inner := getattr(type, "value_type", None)) is not None and is_list(type):
        sizes.append(type.list_size if arrow_types.is_fixed_size_list(type) else -1)
        type = inner
    return _plain(type), tuple(sizes)


def _plain(type: pa.DataType) -> pa.DataType:
    return type.value_type if arrow_types.is_dictionary(type) else type


def is_list(type: pa.DataType) -> bool:
    """Whether its values are lists."""
    return bool(arrow_types.is_list(type) or arrow_types.is_large_list(type) or arrow_types.is_fixed_size_list(type))


def _is_text(type: pa.DataType) -> bool:
    return any(test(type) for test in _TEXTS)


_TEXTS = (
    arrow_types.is_string,
    arrow_types.is_large_string,
    arrow_types.is_binary,
    arrow_types.is_large_binary,
    arrow_types.is_fixed_size_binary,
    lambda type: type in (pa.string_view(), pa.binary_view()),
)


def may_become(type: pa.DataType, datatype: Datatype) -> bool:
    """Whether elements of the type can be a tensor's of the datatype."""
    if datatype is Datatype.BYTES:
        return _is_text(type)
    if datatype is Datatype.BOOL:
        return bool(arrow_types.is_boolean(type) or arrow_types.is_integer(type))
    return bool(arrow_types.is_integer(type) or arrow_types.is_floating(type) or arrow_types.is_decimal(type))


def storage(column: pa.ChunkedArray) -> pa.Array:
    """One array of lists and plain values: without dictionaries and extension types."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies even one
    if not isinstance(array.type, pa.BaseExtensionType):
        return array.dictionary_decode() if arrow_types.is_dictionary(array.type) else array
    shape = tuple(getattr(array.type, "shape", ()))
    return _nested(array.storage, shape, _order(array.type, len(shape))) if shape else array.storage


def _order(type: Any, rank: int) -> tuple[int, ...]:
    """Which dimension in memory each dimension of a fixed-shape tensor is."""
    return tuple(getattr(type, "permutation", None) or range(rank))


def _nested(flat: pa.Array, shape: Sequence[int], order: Sequence[int]) -> pa.Array:
    """Lists of all elements of a row, as they lie in memory, as lists in lists."""
    count, size = len(flat), prod(shape)
    if not arrow_types.is_fixed_size_list(flat.type):
        flat = flat.cast(pa.list_(flat.type.value_type, size))
    values = flat.values.slice(flat.offset * size, count * size)
    if list(order) != sorted(order):
        places = np.arange(count * size).reshape(count, *shape).transpose(0, *(axis + 1 for axis in order))
        values = values.take(pa.array(places.reshape(-1)))
    for axis in reversed(order[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, shape[axis])
    return pa.FixedSizeListArray.from_arrays(values, shape[order[0]], mask=flat.is_null())
