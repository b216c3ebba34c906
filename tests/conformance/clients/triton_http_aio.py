"""tritonclient.http.aio. Arguments: host:port, capabilities with commas."""

import asyncio
import sys

import numpy as np
import tritonclient.http.aio as triton
from checks import check, run
from tritonclient.http import InferInput

A, B = np.arange(16, dtype=np.int32)[None], np.ones((1, 16), np.int32)


def tensors(binary: bool) -> list[InferInput]:
    made = [InferInput("INPUT0", [1, 16], "INT32"), InferInput("INPUT1", [1, 16], "INT32")]
    for tensor, array in zip(made, (A, B), strict=True):
        tensor.set_data_from_numpy(array, binary_data=binary)
    return made


@check("model:simple")
async def health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("simple")
    assert (await client.get_model_metadata("simple"))["name"] == "simple"


@check("model:simple", "binary")
async def many_at_once(client: triton.InferenceServerClient) -> None:
    calls = [client.infer("simple", tensors(index % 2 == 0)) for index in range(20)]
    for answer in await asyncio.gather(*calls):
        assert (answer.as_numpy("OUTPUT0") == A + B).all()


@check("model:simple", "binary", "compression")
async def compression(client: triton.InferenceServerClient) -> None:
    for algorithm in ("gzip", "deflate"):
        options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
        answer = await client.infer("simple", tensors(True), **options)
        assert (answer.as_numpy("OUTPUT1") == A - B).all()


async def main() -> None:
    async with triton.InferenceServerClient(sys.argv[1]) as client:
        await run(client)


if __name__ == "__main__":
    asyncio.run(main())
