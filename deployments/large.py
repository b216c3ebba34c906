"""Large requests and answers are read and written in a thread, or all others would wait meanwhile."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from configs.tensors import Rows

LARGE = 4 << 20
"""Bytes above which a body is read, or an answer written, in a thread."""

P = ParamSpec("P")
T = TypeVar("T")


async def off_loop(size: int, codec: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the codec gives; from a thread if it has so many bytes to read or write that other requests would wait."""
    if size <= LARGE:
        return codec(*args, **kwargs)
    return await asyncio.to_thread(codec, *args, **kwargs)


def size_of(outputs: Rows) -> int:
    """Bytes of the tensors, roughly."""
    size = 0
    for array in outputs.values():
        size += array.nbytes
        if array.dtype.kind == "O" and size <= LARGE:
            size += sum(map(len, array.flat))
    return size
