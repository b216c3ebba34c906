"""The record batch of an Arrow file, mapped into memory: none of it is read, and none is unpacked."""

import struct
from pathlib import Path

import pyarrow as pa

_MAGIC = b"ARROW1"
_FIRST_MESSAGE = 8
_HEADER, _COMPRESSION = 2, 3
"""Fields of the tables Message and RecordBatch in Arrow's `format/Message.fbs`."""


def map_batch(path: Path) -> pa.RecordBatch:
    """The file's one record batch. Raises ValueError or OSError for what is no whole, plain file of one."""
    source = pa.memory_map(str(path))
    source.seek(max(source.size() - len(_MAGIC), 0))
    if source.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no Arrow file, or its end is missing")
    source.seek(_FIRST_MESSAGE)
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.type == "dictionary":  # its codec lies elsewhere, and no column of ours is one
            raise ValueError("a column is encoded by a dictionary; write its values themselves")
        if message.type == "record batch" and _is_compressed(bytes(message.metadata)):
            raise ValueError("its columns are compressed, so they cannot be mapped; write it without compression")
    source.seek(_FIRST_MESSAGE)
    batches = list(pa.ipc.open_stream(source))  # the same messages: which others the file's footer names is not asked
    if len(batches) != 1:
        raise ValueError(f"its rows are in {len(batches)} pieces; they must be in one")
    return batches[0]


def _is_compressed(message: bytes) -> bool:
    """Whether the buffers of a record batch have a codec, which pyarrow does not tell before it has unpacked them."""
    try:
        header = _field(message, struct.unpack_from("<I", message)[0], _HEADER)
        return _field(message, header + struct.unpack_from("<I", message, header)[0], _COMPRESSION) != 0
    except struct.error as error:
        raise ValueError("its record batch is damaged") from error


def _field(message: bytes, table: int, number: int) -> int:
    """Where a field of a FlatBuffers table lies; 0 if it is not there."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", message, vtable)[0]:
        return 0
    offset: int = struct.unpack_from("<H", message, vtable + place)[0]
    return table + offset if offset else 0
