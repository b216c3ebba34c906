"""Named arrays as bytes that describe themselves, for stores outside the process. No pickle: nothing in them can run.

Little-endian: `MR1`, the number of arrays (u16), then for each its name, its type, its shape and its data. A name and a
type are a length (u16) and UTF-8; the type is a datatype of the Open Inference Protocol, or NumPy's `S5` and `U5`. A
shape is its rank (u8) and its sizes (u32). Data are a length (u64) and the array's bytes; of objects each element is
`b` or `s` (bytes or text), a length (u32) and its bytes.
"""

import re
import struct
from math import prod
from struct import Struct

import numpy as np

from configs.tensors import Datatype, Rows

_MAGIC = b"MR1"
_U8, _U16, _U32, _U64 = Struct("<B"), Struct("<H"), Struct("<I"), Struct("<Q")
_TEXT = re.compile(r"[SU]\d{1,9}")


def pack(rows: Rows) -> bytes:
    """The arrays as bytes. Raises TypeError for elements that are neither numbers, bytes nor text."""
    parts = [_MAGIC, _U16.pack(len(rows))]
    for name, array in rows.items():
        data = _packed_objects(array) if array.dtype == object else np.ascontiguousarray(array).tobytes()
        parts += [_packed_text(name), _packed_text(_type_of(array)), _U8.pack(array.ndim)]
        parts += [_U32.pack(size) for size in array.shape]
        parts += [_U64.pack(len(data)), data]
    return b"".join(parts)


def unpack(data: bytes) -> Rows:
    """The arrays; those of numbers are read-only views of `data`. Raises ValueError for what `pack` does not write."""
    if data[:3] != _MAGIC:
        raise ValueError("not rows of this version")
    reader = _Reader(data, len(_MAGIC))
    try:
        rows = {reader.text(): _array(reader) for _ in range(reader.number(_U16))}
    except (struct.error, TypeError, OverflowError) as error:
        raise ValueError(f"broken rows: {error}") from None
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes are left after the rows")
    return rows


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self.at = data, at

    def number(self, of: Struct) -> int:
        (value,) = of.unpack_from(self._data, self.at)
        self.at += of.size
        return int(value)

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise ValueError(f"{size} bytes are announced, {len(self._data) - self.at} are left")
        self.at += size
        return self._data[self.at - size : self.at]

    def text(self) -> str:
        return self.take(self.number(_U16)).decode()


def _array(reader: _Reader) -> np.ndarray:
    kind = reader.text()
    shape = tuple(reader.number(_U32) for _ in range(reader.number(_U8)))
    data = reader.take(reader.number(_U64))
    if kind == Datatype.BYTES:
        return _objects(data, shape)
    dtype = np.dtype(kind) if _TEXT.fullmatch(kind) else Datatype(kind).dtype
    if prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{kind} of shape {shape} with {len(data)} bytes")
    return np.ndarray(shape, dtype, data)


def _objects(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    reader, elements = _Reader(data, 0), []
    while reader.at < len(data):
        kind, item = reader.take(1), reader.take(reader.number(_U32))
        if kind not in (b"b", b"s"):
            raise ValueError(f"an element of the unknown kind {kind!r}")
        elements.append(item if kind == b"b" else item.decode(errors="surrogatepass"))
    if len(elements) != prod(shape):
        raise ValueError(f"{len(elements)} elements for shape {shape}")
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def _packed_objects(array: np.ndarray) -> bytes:
    parts = []
    for item in array.flat:
        if type(item) not in (bytes, str):
            raise TypeError(f"an element is {type(item).__name__}, not bytes or str")
        data = item if isinstance(item, bytes) else item.encode(errors="surrogatepass")
        parts += [b"b" if isinstance(item, bytes) else b"s", _U32.pack(len(data)), data]
    return b"".join(parts)


def _type_of(array: np.ndarray) -> str:
    return array.dtype.str.lstrip("<|=") if array.dtype.kind in "SU" else Datatype.of(array)


def _packed_text(text: str) -> bytes:
    data = text.encode()
    return _U16.pack(len(data)) + data
