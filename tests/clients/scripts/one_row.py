"""One row by handle that leaves. Arguments: Ray's address, graph, gate, value, seconds until it leaves."""

import asyncio
import logging
import sys

import numpy as np
import ray

from deployments.connect import connect


async def main(address: str, graph: str, gate: str, value: str, leaves_after_s: str) -> None:
    ray.init(address, logging_level=logging.WARNING, log_to_driver=False)
    client = connect(graph)
    asked = client.predict_async(gate=np.array([gate.encode()], object), x=np.array([value], np.float32))
    task = asyncio.ensure_future(asked)
    await asyncio.sleep(2)  # the handle finds its replicas, asks for the signature, and sends
    print("sent", flush=True)
    await asyncio.sleep(float(leaves_after_s))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    print("left", flush=True)
    sys.stdin.read()  # the driver's end would cancel too


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
