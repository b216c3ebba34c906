"""Tensors as raw bytes, as in the v2 binary tensor extension and gRPC's raw contents.

Little-endian and row-major; a BYTES element is a 4-byte length and its bytes. NumPy's own byte order is taken for
little-endian: so it is on every platform that Ray runs on.
"""

from collections.abc import Sequence
from math import prod
from struct import Struct

import numpy as np

from configs.errors import InvalidInput
from configs.tensors import Datatype
from deployments.protocols.request import shown

_LENGTH = Struct("<I")


def from_bytes(name: str, data: bytes | memoryview, datatype: Datatype, shape: Sequence[int]) -> np.ndarray:
    """An array of `shape`, which `check_tensor` has checked, over `data`: a read-only view, except for BYTES.

    A view starts where its bytes start, so it may be unaligned (`array.flags.aligned`).
    Raises InvalidInput if the size does not fit the shape or a value is not one of the datatype.
    """
    if datatype is Datatype.BYTES:
        return _elements(name, data, shape)
    dtype = datatype.dtype
    expected = prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidInput(
            f"input '{name}': {datatype} of shape {shown(list(shape))} needs {expected} bytes, got {len(data)}"
        )
    values = np.ndarray(shape, dtype, data)
    if datatype is Datatype.BOOL and values.view(np.uint8).max() > 1:
        raise InvalidInput(f"input '{name}': BOOL takes bytes 0 and 1, found {values.view(np.uint8).max()}")
    return values


def _elements(name: str, data: bytes | memoryview, shape: Sequence[int]) -> np.ndarray:
    count, end = prod(shape), len(data)
    least = count * _LENGTH.size
    if least > end:
        raise InvalidInput(
            f"input '{name}': BYTES of shape {shown(list(shape))} needs at least {least} bytes, got {end}"
        )
    elements, at = np.empty(count, dtype=object), 0
    for index in range(count):
        start = at + _LENGTH.size
        # A length that does not fit in what is left makes `at` pass the end, and the next turn or the end stops.
        at = start + _LENGTH.unpack_from(data, at)[0] if start <= end else end + 1
        if at > end:
            raise InvalidInput(
                f"input '{name}': element {index} of {count} reaches beyond the {end} bytes of the tensor"
            )
        elements[index] = bytes(data[start:at])
    if at != end:
        raise InvalidInput(f"input '{name}': {end - at} of {end} bytes are left after its {count} elements")
    return elements.reshape(shape)


def to_bytes(array: np.ndarray) -> bytes | memoryview:
    """The raw bytes of an array: a view where its memory is contiguous, except for BYTES."""
    if array.dtype.kind in "OSU":
        return b"".join(_LENGTH.pack(len(item)) + item for item in bytes_elements(array))
    return array.ravel().view(np.uint8).data


def as_bytes(array: np.ndarray) -> np.ndarray:
    """A BYTES array with every element a `bytes`, itself if it is so already. Raises as `bytes_elements` does."""
    if array.dtype == object and set(map(type, array.ravel().tolist())) <= {bytes}:
        return array
    elements = np.empty(array.size, dtype=object)
    elements[:] = bytes_elements(array)
    return elements.reshape(array.shape)


def bytes_elements(array: np.ndarray) -> list[bytes]:
    """The elements of a BYTES array in row-major order; text is encoded as UTF-8. Raises TypeError for others."""
    return [_as_bytes(item) for item in array.ravel().tolist()]


def _as_bytes(item: object) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    raise TypeError(f"an element of a BYTES tensor is {type(item).__name__}, not bytes or str")
