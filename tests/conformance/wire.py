"""Datatypes as bytes and as JSON, with values that try their ends. No NumPy: the suite checks bytes, not libraries."""

import struct
from typing import Any

import pytest

FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""Datatype → code of `struct`; BF16 and BYTES have none."""

SAMPLES: dict[str, list[Any]] = {
    "BOOL": [True, False, False, True],
    "UINT8": [0, 1, 128, 2**8 - 1],
    "UINT16": [0, 1, 2**15, 2**16 - 1],
    "UINT32": [0, 1, 2**31, 2**32 - 1],
    "UINT64": [0, 1, 2**53 + 1, 2**64 - 1],
    "INT8": [-(2**7), -1, 0, 2**7 - 1],
    "INT16": [-(2**15), -1, 0, 2**15 - 1],
    "INT32": [-(2**31), -1, 0, 2**31 - 1],
    "INT64": [-(2**63), -1, 2**53 + 1, 2**63 - 1],
    "FP16": [-2.0, 0.0, 1.5, 65504.0],
    "BF16": [-2.0, 0.0, 1.5, 2.0**127],
    "FP32": [-3e38, 0.0, 0.1, 1e-30],
    "FP64": [-1.7e308, 0.0, 0.1, 1e-300],
    "BYTES": [b"", b"plain", "zwölf €".encode(), b'"quoted"\n'],
}
"""Four values a datatype, for a tensor [2, 2]."""

NOT_IN_JSON = ("FP16", "BF16")
"""`Tensor Data`: "problematic to communicate explicitly"; a server may refuse them as JSON, and gRPC has no field."""

EACH = [pytest.param(name, marks=pytest.mark.model(f"identity_{name.lower()}"), id=name) for name in SAMPLES]
"""Parameters for a test of each datatype, with the model that it needs."""


def pack(datatype: str, values: list[Any]) -> bytes:
    """Little-endian, row-major, no padding (binary tensor data extension, "Binary Tensor Request")."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value for value in values)
    if datatype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)


def unpack(datatype: str, data: bytes) -> list[Any]:
    """The values of `pack`; AssertionError if the bytes do not end with an element."""
    if datatype == "BYTES":
        return _unpack_bytes(data)
    if datatype == "BF16":
        return [struct.unpack("<f", b"\0\0" + data[at : at + 2])[0] for at in range(0, len(data), 2)]
    size = struct.calcsize(FORMATS[datatype])
    assert len(data) % size == 0, f"{len(data)} bytes are not a whole number of {datatype}"
    return list(struct.unpack(f"<{len(data) // size}{FORMATS[datatype]}", data))


def _unpack_bytes(data: bytes) -> list[bytes]:
    values, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        values.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    assert at == len(data), f"BYTES elements end at {at}, the tensor at {len(data)}"
    return values


def as_json(datatype: str, values: list[Any]) -> list[Any]:
    """The values as a JSON tensor has them: BYTES as text."""
    return [value.decode() for value in values] if datatype == "BYTES" else values


def same(datatype: str, found: list[Any], expected: list[Any]) -> bool:
    """Equal, floats up to what the reading and writing of decimal text may lose."""
    if datatype in ("FP32", "FP16", "BF16"):
        return found == pytest.approx(expected, rel=1e-6)
    return found == pytest.approx(expected, rel=1e-13) if datatype == "FP64" else found == expected
