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


class Http:
    """Connections to one graph, as many as are needed at a time, each used again in turn.

    A connection that is known to be closed by the server is not used; one that closes under a request loses it.
    """

    def __init__(self, port: int, graph: str) -> None:
        body = orjson.dumps({"x": [[0.0] * WIDTH[graph]]})
        head = f"POST /{graph} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
        self._request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        self._port = port
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def __call__(self) -> int:
        """Send it."""
        reader, writer, known = await self._connection()
        try:
            async with asyncio.timeout(HANGS_S):
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(None, 1)[0]))
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
        return int(next(iter(orjson.loads(body).values()))[0][0])

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()

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
