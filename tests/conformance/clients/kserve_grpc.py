"""kserve's gRPC client, its retries off. Arguments: host:port, capabilities with commas."""

import asyncio
import sys

import grpc
import numpy as np
from checks import check, raises, run
from kserve import InferenceGRPCClient, InferInput, InferRequest

A, B = np.arange(16, dtype=np.int32)[None], np.ones((1, 16), np.int32)


def request(model: str, binary: bool) -> InferRequest:
    inputs = [InferInput("INPUT0", [1, 16], "INT32"), InferInput("INPUT1", [1, 16], "INT32")]
    for tensor, array in zip(inputs, (A, B), strict=True):
        tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=inputs, request_id="7")


@check("model:simple")
async def health(client: InferenceGRPCClient) -> None:
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("simple")


@check("model:simple")
async def raw_and_typed(client: InferenceGRPCClient) -> None:
    for binary in (True, False):
        answer = await client.infer(request("simple", binary))
        assert answer.id == "7"
        found = {output.name: output.as_numpy() for output in answer.outputs}
        assert (found["OUTPUT0"] == A + B).all()
        assert (found["OUTPUT1"] == A - B).all()


@check("model:simple")
async def errors(client: InferenceGRPCClient) -> None:
    with raises(grpc.RpcError) as caught:
        await client.infer(request("no_such_model", True))
    assert caught[0].code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


async def main() -> None:
    async with InferenceGRPCClient(sys.argv[1], channel_args=[("grpc.enable_retries", 0)], retries=0) as client:
        await run(client)


if __name__ == "__main__":
    asyncio.run(main())
