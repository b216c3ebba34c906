"""The load generator: requests at planned moments, whatever becomes of those before, or each after the last answer."""

import asyncio
import math
import random
import time
from dataclasses import dataclass

from benchmarks.isolation.live.server import HOST

_HANGS_S = 10
"""An answer that takes longer is none."""


@dataclass(slots=True)
class Sent:
    """One request. Times are of the monotonic clock."""

    planned: float
    sent: float = math.nan
    """When its bytes were written: later than planned if the generator is too slow."""
    ended: float = math.nan
    status: int = 0
    """Of HTTP; 0 while there is none."""

    @property
    def seconds(self) -> float:
        """From the planned moment to the answer."""
        return self.ended - self.planned


class Clients:
    """Connections to one path, as many as are needed at a time, each used again.

    Args:
        patience_s: told with each request; None: no deadline.
    """

    def __init__(self, port: int, graph: str, patience_s: float | None = None) -> None:
        deadline = "" if patience_s is None else f"x-request-timeout-seconds: {patience_s}\r\n"
        body = '{"x": [1.0]}'
        self._request = (
            f"POST /{graph} HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n{deadline}"
            f"content-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open_loop(self, per_second: float, seconds: float, seed: int = 1) -> list[Sent]:
        """A Poisson process of requests, each sent at its moment."""
        chance, started = random.Random(seed), time.monotonic()
        moment, requests, tasks = started, list[Sent](), list[asyncio.Task[None]]()
        while (moment := moment + chance.expovariate(per_second)) < started + seconds:
            if (early := moment - time.monotonic()) > 0:
                await asyncio.sleep(early)
            requests.append(Sent(moment))
            tasks.append(asyncio.create_task(self._ask(requests[-1])))
        await asyncio.gather(*tasks)
        return requests

    async def closed_loop(self, clients: int, seconds: float) -> list[Sent]:
        """So many clients, each asks again when it is answered."""
        end, requests = time.monotonic() + seconds, list[Sent]()

        async def client() -> None:
            while (now := time.monotonic()) < end:
                requests.append(Sent(now))
                await self._ask(requests[-1])

        await asyncio.gather(*(client() for _ in range(clients)))
        return requests

    async def close(self) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()

    async def _ask(self, request: Sent) -> None:
        request.sent = time.monotonic()
        try:
            reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection(HOST, self._port)
        except OSError:  # no answer: counted as that
            return
        try:
            async with asyncio.timeout(_HANGS_S):
                writer.write(self._request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split(None, 1)[0]))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):  # no answer: counted as that
            writer.close()
            return
        request.ended, request.status = time.monotonic(), int(head.split(None, 2)[1])
        if b"connection: close" in head:
            writer.close()
        else:
            self._idle.append((reader, writer))
