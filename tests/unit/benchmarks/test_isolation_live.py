"""The live benchmark's load generator keeps to its plan, whatever the server does."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np

from benchmarks.isolation.hedging import Tail
from benchmarks.isolation.live.clients import Clients, Sent
from benchmarks.isolation.live.nodes import Stalling
from benchmarks.isolation.live.overload import PATIENCE_S, LiveLoad, Overload, judge
from benchmarks.isolation.live.report import render
from benchmarks.isolation.live.sizes import Served
from benchmarks.isolation.overload import Load


class Slow:
    """A server that answers everything alike, but nothing before `after` requests have come."""

    def __init__(self, status: bytes, after: int) -> None:
        self.heads: list[bytes] = []
        self._status, self._after = status, after
        self._enough = asyncio.Event()
        self._handlers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def port(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]
            await asyncio.gather(*self._handlers)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handlers.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError):  # the client has closed the connection
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                await reader.readexactly(len('{"x": [1.0]}'))
                if len(self.heads) >= self._after:
                    self._enough.set()
                await self._enough.wait()
                writer.write(b"HTTP/1.1 " + self._status + b"\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()


async def test_requests_are_sent_at_their_moments_though_none_is_answered() -> None:
    server = Slow(b"503 Service Unavailable", after=10)
    async with server.port() as port:
        clients = Clients(port, "steady", 0.5)
        requests = await clients.open_loop(1000, 0.05)
        await clients.close()
    assert {request.status for request in requests} == {503}
    assert len(server.heads) == len(requests)
    assert b"x-request-timeout-seconds: 0.5" in server.heads[0]


async def test_clients_that_wait_use_their_connections_again() -> None:
    server = Slow(b"200 OK", after=1)
    async with server.port() as port:
        clients = Clients(port, "steady")
        requests = await clients.closed_loop(2, 0.02)
        await clients.close()
    assert {request.status for request in requests} == {200}
    assert len(server._handlers) == 2
    assert b"timeout" not in server.heads[0]


def test_in_time_is_counted_from_the_planned_moment() -> None:
    def sent(planned: float, seconds: float, status: int = 200) -> Sent:
        return Sent(planned, planned, planned + seconds, status)

    early = [sent(0, 0.1)]  # the first quarter does not count
    counted = [sent(2, 0.1), sent(2.5, PATIENCE_S + 0.1), sent(3, 0.01, 503), Sent(3.5, 3.5)]
    run = judge(3.0, early + counted, 0.1, 4, capacity=1)
    assert run.load.goodput == 1 / 3
    assert (run.load.refused, run.load.late) == (1 / 4, 2 / 4)


def test_stalling_counts_rows(tmp_path: Path) -> None:
    node = Stalling(0.0, 0.01, 50, str(tmp_path / "tally"))
    node(np.zeros(3, np.float32))
    node(np.zeros(1, np.float32))
    assert os.path.getsize(tmp_path / "tally") == 4


def test_the_page_says_whether_the_aims_are_met() -> None:
    loads = [LiveLoad(Load(3.0, True, 0.95, 0.6, 0.01), 0.4, 0.002, 0.1)]
    plain, hedged = (Tail(on, 3, 0.03 * on, (0.01, 0.01, 0.01 if on else 0.5)) for on in (False, True))
    page = render({"cores": "2"}, [("64", Served(1500, 0.09, 64))], Overload((160, 158), loads), plain, hedged)
    assert page.count("✓") == 3
    assert "| 3 × | 0.95 | 60.0% | 1.0% | 400 | 2.0 | 10% |" in page
