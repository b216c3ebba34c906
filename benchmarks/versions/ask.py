"""One request over HTTP or gRPC, sent once: which version answered."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import orjson

from benchmarks.isolation.live.server import HOST
from benchmarks.online.v2 import MODEL_INFER, grpc_answer, grpc_infer
from benchmarks.versions.models import WIDTH

HANGS_S = 30
"""An answer that takes longer is none."""
_CHANNELS = 4
"""Connections that the calls over gRPC share."""
_OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
"""No call is sent twice, not even one that the server says it never took."""

Ask = Callable[[], Awaitable[int]]
"""Sends one request and gives the version in the answer; raises Lost."""


class Lost(Exception):
    """A request without a good answer."""


class Connections:
    """Connections to a server, as many as are needed at a time, each used again in turn.

    A connection that is known to be closed by the server is not used; one that closes under a request loses it.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def ask(self, request: bytes) -> bytes:
        """Send a request; the body of its answer. Raises Lost, also for an answer other than 200."""
        reader, writer, known = await self._connection()
        try:
            async with asyncio.timeout(HANGS_S):
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await _body(reader, head)
        except TimeoutError:
            writer.close()
            raise Lost(f"no answer in {HANGS_S} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            writer.close()
            got = f", {len(error.partial)} bytes came" if isinstance(error, asyncio.IncompleteReadError) else ""
            raise Lost(f"{type(error).__name__} on a {'used' if known else 'new'} connection{got}") from None
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))
        if (status := int(head.split(None, 2)[1])) != 200:
            raise Lost(f"HTTP {status}: {body[:300].decode(errors='replace')}")
        return body

    def close(self) -> None:
        """Close them all; others are opened if need be."""
        while self._idle:
            self._idle.pop()[1].close()

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bool]:
        while self._idle:
            reader, writer = self._idle.popleft()
            if not (reader.at_eof() or reader.exception() or writer.is_closing()):
                return reader, writer, True
            writer.close()
        try:
            return *await asyncio.open_connection(HOST, self._port), False
        except OSError as error:
            raise Lost(f"{type(error).__name__}: no connection") from None


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"\r\ntransfer-encoding: chunked" not in head:
        return await reader.readexactly(int(head.partition(b"content-length:")[2].split(None, 1)[0]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return body


def post(path: str, body: bytes, headers: str = "") -> bytes:
    """The bytes of a request with a JSON body.

    Args:
        headers: further ones, each with its end of line.
    """
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n{headers}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Http:
    """Requests to one graph, on connections of its own."""

    def __init__(self, port: int, graph: str) -> None:
        self._request = post(f"/{graph}", orjson.dumps({"x": [[0.0] * WIDTH[graph]]}))
        self._connections = Connections(port)

    async def __call__(self) -> int:
        """Send it."""
        return int(next(iter(orjson.loads(await self._connections.ask(self._request)).values()))[0][0])

    def close(self) -> None:
        """Close all connections."""
        self._connections.close()


class Grpc:
    """Calls of ModelInfer of one graph, on a few channels that it shares with others."""

    def __init__(self, channels: list[grpc.aio.Channel], graph: str) -> None:
        self._message = grpc_infer(graph, np.zeros((1, WIDTH[graph]), np.float32))
        self._calls: deque[Any] = deque(channel.unary_unary(MODEL_INFER) for channel in channels)

    async def __call__(self) -> int:
        """Send it."""
        self._calls.rotate()
        try:
            answer = grpc_answer(await self._calls[0](self._message, timeout=HANGS_S))
        except grpc.RpcError as error:
            raise Lost(f"gRPC {error.code().name}: {(error.details() or '')[:300]}") from None
        return int(next(iter(answer.values()))[0, 0])


async def channels(port: int) -> list[grpc.aio.Channel]:
    """Channels that are connected."""
    opened = [grpc.aio.insecure_channel(f"{HOST}:{port}", _OPTIONS) for _ in range(_CHANNELS)]
    for channel in opened:
        await channel.channel_ready()
    return opened
