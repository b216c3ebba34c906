"""An answer of known length leaves as one piece, one that streams as it comes: through a real uvicorn protocol."""

import asyncio
from typing import Any

import pytest

from deployments.express import _hold_head
from tests.unit.deployments.served import connection, content_of

SENDS = {"small": [b"body"], "large": [b"x" * 100_000], "empty": [b""], "stream": [b"one", b"two", b""]}


@pytest.mark.parametrize("kind", SENDS)
async def test_the_client_gets_every_byte_and_the_connection_stays_open(kind: str) -> None:
    parts = SENDS[kind]

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = [] if kind == "stream" else [(b"content-length", b"%d" % len(parts[0]))]
        start = {"type": "http.response.start", "status": 200, "headers": headers}
        _hold_head(send, scope, start)
        await send(start)
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": part is not parts[-1]})

    async with connection(app) as (reader, writer):
        for method in ("GET", "HEAD", "GET"):
            writer.write(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            if kind != "stream" and method != "HEAD":
                assert await content_of(reader) == parts[0]
                continue
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 200")
            if method != "HEAD":
                body = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
                assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
