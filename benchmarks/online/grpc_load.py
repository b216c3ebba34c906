"""A load generator for gRPC: one message over and over, as bytes that it does not look into.

`python -m benchmarks.online.grpc_load HOST:PORT /service/Method MESSAGE_FILE CALLS SECONDS` prints one line of JSON.
"""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks.online.tally import line

_CHANNELS = 4
"""Connections that the calls share."""
_OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # else all channels to one address share one connection
]


async def run(address: str, method: str, message: bytes, calls: int, seconds: float) -> str:
    """Keep `calls` in flight, each begun when the one before it is answered; the line to print."""
    channels = [grpc.aio.insecure_channel(address, _OPTIONS) for _ in range(min(calls, _CHANNELS))]
    for channel in channels:
        await channel.channel_ready()
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    rpcs = [channels[call % len(channels)].unary_unary(method) for call in range(calls)]
    start = time.perf_counter()
    tasks = [asyncio.create_task(_repeat(rpc, message, latencies, errors)) for rpc in rpcs]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    report = line(latencies, time.perf_counter() - start, errors)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):  # not the CancelledError that ends them
            raise result
    for channel in channels:
        await channel.close()
    return report


async def _repeat(rpc: Any, message: bytes, latencies: list[float], errors: Counter[str]) -> None:
    while True:
        begun = time.perf_counter()
        try:
            await rpc(message)
        except grpc.RpcError as error:
            errors[error.code().name] += 1
        else:
            latencies.append(time.perf_counter() - begun)


def main(address: str, method: str, message: str, calls: str, seconds: str) -> None:
    print(uvloop.run(run(address, method, Path(message).read_bytes(), int(calls), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
