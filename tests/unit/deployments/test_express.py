"""An answer of known length leaves as one piece, one that streams as it comes: through a real uvicorn protocol."""

import asyncio
from typing import Any

import pytest
import uvicorn

from deployments.express import _hold_head

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

    config = uvicorn.Config(app, host="127.0.0.1", port=0, http="httptools", lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  uvicorn tells by this flag alone
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for method in ("GET", "HEAD", "GET"):
            writer.write(f"{method} / HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            assert head.startswith(b"HTTP/1.1 200")
            if method == "HEAD":
                continue
            if kind == "stream":
                body = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
                assert body == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
            else:
                assert await asyncio.wait_for(reader.readexactly(len(parts[0])), 10) == parts[0]
    finally:
        writer.close()
        server.should_exit = True
        await serving
