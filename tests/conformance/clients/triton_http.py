"""tritonclient.http. Arguments: host:port, capabilities with commas."""

import sys
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.http as triton
from checks import check, main, raises
from tritonclient.utils import InferenceServerException

A, B = np.arange(16, dtype=np.int32)[None], np.ones((1, 16), np.int32)


def tensors(binary: bool, dtype: Any = np.int32, name: str = "INT32") -> list[triton.InferInput]:
    made = [triton.InferInput("INPUT0", [1, 16], name), triton.InferInput("INPUT1", [1, 16], name)]
    for tensor, array in zip(made, (A, B), strict=True):
        tensor.set_data_from_numpy(array.astype(dtype), binary_data=binary)
    return made


def right(answer: Any) -> None:
    assert (answer.as_numpy("OUTPUT0") == A + B).all()
    assert (answer.as_numpy("OUTPUT1") == A - B).all()


@check("model:simple")
def health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple")
    assert not client.is_model_ready("no_such_model")
    assert client.get_server_metadata()["name"]
    assert client.get_model_metadata("simple")["name"] == "simple"


@check("model:simple")
def json_tensors(client: triton.InferenceServerClient) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in ("OUTPUT0", "OUTPUT1")]
    right(client.infer("simple", tensors(False), outputs=outputs, request_id="7"))


@check("model:simple", "binary")
def binary_tensors(client: triton.InferenceServerClient) -> None:
    answer = client.infer("simple", tensors(True), request_id="7")
    right(answer)
    assert answer.get_response()["id"] == "7"


@check("model:simple", "binary", "compression")
def compression(client: triton.InferenceServerClient) -> None:
    for algorithm in ("gzip", "deflate"):
        options = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
        right(client.infer("simple", tensors(True), **options))


@check("model:simple_string", "binary")
def strings(client: triton.InferenceServerClient) -> None:
    for binary in (True, False):
        answer = client.infer("simple_string", tensors(binary, bytes, "BYTES"))
        assert (answer.as_numpy("OUTPUT0").astype(np.int32) == A + B).all()


@check("model:identity_bf16", "binary")
def bfloat16(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("INPUT0", [1, 3], "BF16")
    tensor.set_data_from_numpy(np.array([[1.5, -2.0, 0.0]], ml_dtypes.bfloat16), binary_data=True)
    assert client.infer("identity_bf16", [tensor]).as_numpy("OUTPUT0").tolist() == [[1.5, -2.0, 0.0]]


@check("model:simple", "binary")
def many_at_once(client: triton.InferenceServerClient) -> None:
    for pending in [client.async_infer("simple", tensors(True)) for _ in range(20)]:
        right(pending.get_result())


@check("model:simple", "binary", "classification")
def classes(client: triton.InferenceServerClient) -> None:
    output = triton.InferRequestedOutput("OUTPUT0", binary_data=True, class_count=2)
    [first, second] = client.infer("simple", tensors(True), outputs=[output]).as_numpy("OUTPUT0").ravel()
    assert first.startswith(b"16")
    assert second.startswith(b"15")


@check("model:simple")
def errors(client: triton.InferenceServerClient) -> None:
    with raises(InferenceServerException) as caught:
        client.infer("no_such_model", tensors(False))
    assert caught[0].status().startswith("4"), caught
    assert "no_such_model" in caught[0].message()


@check("model:simple", "statistics")
def statistics(client: triton.InferenceServerClient) -> None:
    [found] = client.get_inference_statistics("simple")["model_stats"]
    assert found["inference_stats"]["success"]["count"] > 0


@check("model:simple", "config")
def config(client: triton.InferenceServerClient) -> None:
    assert client.get_model_config("simple")["name"] == "simple"


@check("model:simple", "repository")
def repository(client: triton.InferenceServerClient) -> None:
    assert "simple" in {item["name"] for item in client.get_model_repository_index()}


@check("model:sequence_sum", "binary", "sequence")
def sequence(client: triton.InferenceServerClient) -> None:
    found = []
    for value in (1, 2, 3):
        tensor = triton.InferInput("INPUT", [1, 1], "INT32")
        tensor.set_data_from_numpy(np.array([[value]], np.int32))
        flags = {"sequence_id": 424242, "sequence_start": value == 1, "sequence_end": value == 3}
        found.append(client.infer("sequence_sum", [tensor], **flags).as_numpy("OUTPUT").item())
    assert found == [1, 3, 6]


if __name__ == "__main__":
    main(triton.InferenceServerClient(sys.argv[1], concurrency=4))
