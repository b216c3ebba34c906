"""kserve's REST client, protocols v2 and v1, its retries off. Arguments: host:port, capabilities with commas."""

import asyncio
import sys

import httpx
import numpy as np
from checks import check, raises, run
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

URL = f"http://{sys.argv[1]}"
A, B = np.arange(16, dtype=np.int32)[None], np.ones((1, 16), np.int32)


def request(binary: bool) -> InferRequest:
    inputs = [InferInput("INPUT0", [1, 16], "INT32"), InferInput("INPUT1", [1, 16], "INT32")]
    for tensor, array in zip(inputs, (A, B), strict=True):
        tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name="simple", infer_inputs=inputs, request_id="7")


async def right(client: InferenceRESTClient, binary: bool) -> None:
    answer = await client.infer(URL, request(binary), model_name="simple")
    assert answer.id == "7"
    found = {output.name: output.as_numpy() for output in answer.outputs}
    assert (found["OUTPUT0"] == A + B).all()
    assert (found["OUTPUT1"] == A - B).all()


@check("model:simple")
async def health(client: InferenceRESTClient) -> None:
    assert await client.is_server_live(URL)
    assert await client.is_server_ready(URL)
    assert await client.is_model_ready(URL, "simple")


@check("model:simple")
async def json_tensors(client: InferenceRESTClient) -> None:
    await right(client, False)


@check("model:simple", "binary")
async def binary_tensors(client: InferenceRESTClient) -> None:
    await right(client, True)


@check("model:simple")
async def errors(client: InferenceRESTClient) -> None:
    with raises(httpx.HTTPStatusError) as caught:
        await client.infer(URL, request(False), model_name="no_such_model")
    assert 400 <= caught[0].response.status_code < 500
    assert "no_such_model" in str(caught[0])


@check("model:simple", "predict")
async def version_1(client: InferenceRESTClient) -> None:
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=0, transport=httpx.AsyncHTTPTransport()))
    rows = [{"INPUT0": A[0].tolist(), "INPUT1": B[0].tolist()}]
    answer = await v1.infer(URL, {"instances": rows}, model_name="simple")
    assert answer["predictions"] == [{"OUTPUT0": (A + B)[0].tolist(), "OUTPUT1": (A - B)[0].tolist()}]
    await v1.close()


async def main() -> None:
    config = RESTConfig(protocol="v2", retries=0, transport=httpx.AsyncHTTPTransport())
    async with InferenceRESTClient(config) as client:
        await run(client)


if __name__ == "__main__":
    asyncio.run(main())
