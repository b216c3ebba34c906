"""A body is told of once, when it is whole: through a real uvicorn protocol."""

import asyncio
from typing import Any

import pytest

from deployments.whole_body import _Chunks, gather_body
from tests.unit.deployments.served import answer, connection, content_of

MOST = 300_000


class Recorder:
    """An application that gathers its bodies and remembers what it was told."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.told: list[dict[str, Any]] = []
        self.heard = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        gather_body(receive.__self__, self.most)
        self.told.append(await receive())
        self.heard.set()
        for message in answer(b"ok"):
            await send(message)


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST / HTTP/1.1", "host: x", *lines, "", ""]).encode()


@pytest.mark.parametrize("size", [0, 10, 65_536, 65_537, MOST])
async def test_one_message_whatever_the_size_and_the_pieces(size: int) -> None:
    app = Recorder()
    body = bytes(range(256)) * (size // 256 + 1)
    async with connection(app) as (reader, writer):
        for piece in (size or 1, 100_000, 1 + size // 7):
            writer.write(head(f"content-length: {size}"))
            for start in range(0, size, piece):
                writer.write(body[start : min(start + piece, size)])
                await writer.drain()
                await asyncio.sleep(0)
            assert await content_of(reader) == b"ok"
    assert app.told == [{"type": "http.request", "body": body[:size], "more_body": False}] * 3


async def test_chunked_and_expected_bodies() -> None:
    app = Recorder()
    async with connection(app) as (reader, writer):
        writer.write(head("transfer-encoding: chunked", "expect: 100-continue"))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for piece in (b"3\r\nabc\r\n", b"2\r\nde\r\n", b"0\r\n\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert await content_of(reader) == b"ok"
    assert [message["body"] for message in app.told] == [b"abcde"]


async def test_too_much_is_told_before_all_has_come() -> None:
    app = Recorder()
    async with connection(app) as (reader, writer):
        writer.write(head(f"content-length: {MOST * 10}"))
        writer.write(b"x" * (MOST + 1))
        assert await content_of(reader) == b"ok"
    assert app.told[0]["more_body"]
    assert len(app.told[0]["body"]) > MOST


async def test_too_much_at_once_is_told_at_once() -> None:
    app = Recorder(most=10)
    async with connection(app) as (reader, writer):
        writer.write(head("transfer-encoding: chunked") + b"b\r\n01234567890\r\n")
        assert await content_of(reader) == b"ok"
    assert app.told == [{"type": "http.request", "body": b"01234567890", "more_body": True}]


def test_a_million_tiny_chunks_take_no_more_memory_than_their_bytes() -> None:
    chunks = _Chunks(bytearray(b"x" * 5000), MOST)
    for _ in range(1000):
        chunks += b"ab"
    chunks += b"y" * 5000
    for _ in range(1000):
        chunks += b"cd"
    assert bytes(chunks) == b"x" * 5000 + b"ab" * 1000 + b"y" * 5000 + b"cd" * 1000
    assert len(chunks._chunks) == 3


async def test_who_leaves_within_the_body_is_told() -> None:
    app = Recorder()
    async with connection(app) as (_, writer):
        writer.write(head("content-length: 100000"))
        writer.write(b"x" * 70_000)
        await writer.drain()
        await asyncio.sleep(0.05)
        assert not app.told
        writer.close()
        await asyncio.wait_for(app.heard.wait(), 10)
    assert app.told == [{"type": "http.disconnect"}]
