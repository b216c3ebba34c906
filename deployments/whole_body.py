"""Have uvicorn gather a request's body and tell of it once, when it is whole.

uvicorn adds each chunk to a bytearray, stops the socket above 64 KiB, wakes the request, copies the bytearray out and
lets the socket go on; then the door joins the pieces. For a tensor of 600 KB that is two copies more, four wake-ups and
eight system calls. Uses attributes of uvicorn's `RequestResponseCycle`; `tests/unit/deployments/test_whole_body.py` is
their contract.
"""

import asyncio
import weakref

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_LARGE = 4096
"""Bytes of a chunk that is kept as it came; a hostile body has a million of two bytes each."""


def gather_body(cycle: RequestResponseCycle, max_bytes: int) -> None:
    """Let the next `http.request` of this cycle carry the whole body, or what came until it exceeded `max_bytes`.

    For a cycle whose `receive` was not called yet. Nothing happens if the body is whole already.
    """
    if cycle.more_body:
        cycle.body = _Chunks(cycle.body, max_bytes)  # type: ignore[assignment]  # it has all that uvicorn uses
        cycle.message_event = _End(cycle)
        cycle.message_event.set()  # what came already may be too much


class _Chunks:
    """In the place of uvicorn's bytearray: chunks that are joined once."""

    def __init__(self, first: bytearray, max_bytes: int) -> None:
        self._chunks: list[bytes | bytearray] = [first]
        self._size = len(first)
        self._max_bytes = max_bytes

    def __iadd__(self, chunk: bytes) -> "_Chunks":
        tail = self._chunks[-1]
        if len(chunk) >= _LARGE:
            self._chunks.append(chunk)
        elif isinstance(tail, bytearray):
            tail += chunk
        else:
            self._chunks.append(bytearray(chunk))
        self._size += len(chunk)
        return self

    def __len__(self) -> int:
        """0 as long as more may come: by this number uvicorn decides to stop reading."""
        return 0 if self._size <= self._max_bytes else self._size

    def __bytes__(self) -> bytes:
        return b"".join(self._chunks)


class _End(asyncio.Event):
    """In the place of the event that uvicorn sets at each chunk: set when there is no more to wait for."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        super().__init__()
        self._cycle = weakref.ref(cycle)  # else each request would be left to the garbage collector

    def set(self) -> None:
        cycle = self._cycle()
        if cycle is None or not cycle.more_body or cycle.disconnected or cycle.response_complete or len(cycle.body):
            super().set()
