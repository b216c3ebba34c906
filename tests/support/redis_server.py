"""As much of a Redis server as the cache asks for: the RESP2 protocol with PING, MGET and SET, in this process."""

import asyncio
import time
from contextlib import suppress
from typing import Self


class RedisServer:
    """Listens on a free port of this machine. `stall` makes it read and not answer."""

    def __init__(self) -> None:
        self.values: dict[bytes, tuple[bytes, float]] = {}
        self.port = 0
        self.stall = False
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """For `cache: {store: …}`."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                words = [await self._word(reader) for _ in range(int((await reader.readuntil(b"\r\n"))[1:]))]
                if not self.stall:
                    writer.write(self._answer(words[0].upper(), words[1:]))
                    await writer.drain()

    async def _word(self, reader: asyncio.StreamReader) -> bytes:
        size = int((await reader.readuntil(b"\r\n"))[1:])
        return (await reader.readexactly(size + 2))[:-2]

    def _answer(self, command: bytes, words: list[bytes]) -> bytes:
        if command == b"PING":
            return b"+PONG\r\n"
        if command == b"SET":
            assert words[2].upper() == b"PX"
            self.values[words[0]] = words[1], time.monotonic() + int(words[3]) / 1e3
            return b"+OK\r\n"
        if command == b"MGET":
            return b"*%d\r\n" % len(words) + b"".join(map(self._bulk, words))
        return b"-ERR unknown command\r\n" if command != b"SELECT" else b"+OK\r\n"

    def _bulk(self, key: bytes) -> bytes:
        value, until = self.values.get(key, (b"", 0))
        return b"$%d\r\n%b\r\n" % (len(value), value) if until > time.monotonic() else b"$-1\r\n"
