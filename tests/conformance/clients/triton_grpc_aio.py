"""tritonclient.grpc.aio, its retries off. Arguments: host:port, capabilities with commas."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
from checks import check, run
from tritonclient.grpc import InferInput

A, B = np.arange(16, dtype=np.int32)[None], np.ones((1, 16), np.int32)


def tensors() -> list[InferInput]:
    made = [InferInput("INPUT0", [1, 16], "INT32"), InferInput("INPUT1", [1, 16], "INT32")]
    for tensor, array in zip(made, (A, B), strict=True):
        tensor.set_data_from_numpy(array)
    return made


@check("model:simple")
async def health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("simple")
    assert (await client.get_model_metadata("simple")).name == "simple"


@check("model:simple")
async def many_at_once(client: triton.InferenceServerClient) -> None:
    for answer in await asyncio.gather(*(client.infer("simple", tensors()) for _ in range(20))):
        assert (answer.as_numpy("OUTPUT0") == A + B).all()


@check("model:simple", "streaming")
async def stream(client: triton.InferenceServerClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for index in range(10):
            yield {"model_name": "simple", "inputs": tensors(), "request_id": str(index)}

    found = set()
    async for answer, error in client.stream_infer(requests()):
        assert error is None
        assert (answer.as_numpy("OUTPUT0") == A + B).all()
        found.add(answer.get_response().id)
    assert found == set(map(str, range(10)))


async def main() -> None:
    async with triton.InferenceServerClient(sys.argv[1], channel_args=[("grpc.enable_retries", 0)]) as client:
        await run(client)


if __name__ == "__main__":
    asyncio.run(main())
