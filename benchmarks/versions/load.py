"""The load generator, in a process of its own: a Poisson process of requests, sent at their moments whatever happens.

`python -m benchmarks.versions.load HTTP_PORT GRPC_PORT FOLDER` first measures how many requests per second clients get
that never pause, then sends a third of that, round about over the graphs and protocols, until its input ends; the
records are then in FOLDER. It prints `capacity R`, and `seen MODEL VERSION` with the first answer of each version.
"""

import asyncio
import random
import sys
import time
from pathlib import Path

import numpy as np
import uvloop

from benchmarks.versions.ask import Ask, Grpc, Http, Lost, channels
from benchmarks.versions.models import WIDTH
from benchmarks.versions.records import NONE, RECORD, Records

SHARE = 1 / 3
"""Of the capacity that is offered."""
_CLIENTS, _CAPACITY_S = 24, 6
_SEED = 1


class Load:
    """Requests and what became of them.

    Args:
        asks: (model, protocol) → how to send a request.
    """

    def __init__(self, asks: dict[tuple[str, str], Ask]) -> None:
        self._streams, self._asks = list(asks), list(asks.values())
        self._ended: list[tuple[int, float, float, float, int]] = []
        self._lost: list[tuple[float, str, str]] = []
        self._seen: set[tuple[str, int]] = set()

    async def capacity(self, seconds: float) -> float:
        """Answers per second to clients that each ask again when they are answered; the first third is not counted."""
        began, count = time.monotonic(), 0

        async def client(number: int) -> None:
            nonlocal count
            while (now := time.monotonic()) < began + seconds:
                number += 1
                await self._asks[number % len(self._asks)]()
                count += now > began + seconds / 3

        await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
        return count / (time.monotonic() - began - seconds / 3)

    async def run(self, per_second: float, end: asyncio.Event) -> Records:
        """Send requests until the event is set."""
        chance, cpu, began = random.Random(_SEED), time.process_time(), time.time()
        moment, number, tasks = began, 0, set[asyncio.Task[None]]()
        while not end.is_set():
            moment += chance.expovariate(per_second)
            if (early := moment - time.time()) > 0:
                await asyncio.sleep(early)
            number = (number + 1) % len(self._asks)
            tasks.add(task := asyncio.create_task(self._send(number, moment)))
            task.add_done_callback(tasks.discard)
        busy = (time.process_time() - cpu) / (time.time() - began)
        await asyncio.gather(*tasks)
        return Records(self._streams, np.array(self._ended, RECORD), self._lost, busy)

    async def _send(self, number: int, planned: float) -> None:
        sent = time.time()
        try:
            version = await self._asks[number]()
        except Lost as lost:
            version = NONE
            self._lost.append((planned, "/".join(self._streams[number]), str(lost)))
        self._ended.append((number, planned, sent, time.time(), version))
        if version != NONE and (what := (self._streams[number][0], version)) not in self._seen:
            self._seen.add(what)
            print("seen", *what, flush=True)


async def main(http_port: int, grpc_port: int, folder: Path) -> None:
    """Until the input ends."""
    opened = await channels(grpc_port)
    asks: dict[tuple[str, str], Ask] = {}
    for model in WIDTH:
        asks |= {(model, "HTTP"): Http(http_port, model), (model, "gRPC"): Grpc(opened, model)}
    load, end = Load(asks), asyncio.Event()
    capacity = await load.capacity(_CAPACITY_S)
    print("capacity", capacity, flush=True)
    waiting = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    waiting.add_done_callback(lambda _: end.set())
    records = await load.run(capacity * SHARE, end)
    records.save(folder)
    for channel in opened:
        await channel.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
