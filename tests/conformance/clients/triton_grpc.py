"""tritonclient.grpc, its retries off. Arguments: host:port, capabilities with commas."""

import queue
import sys
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.grpc as triton
from checks import check, main, raises
from tritonclient.utils import InferenceServerException

A, B = np.arange(16, dtype=np.int32)[None], np.ones((1, 16), np.int32)


def tensor(name: str, array: np.ndarray, datatype: str) -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def tensors() -> list[triton.InferInput]:
    return [tensor("INPUT0", A, "INT32"), tensor("INPUT1", B, "INT32")]


def right(answer: Any) -> None:
    assert (answer.as_numpy("OUTPUT0") == A + B).all()
    assert (answer.as_numpy("OUTPUT1") == A - B).all()


@check("model:simple")
def health_and_metadata(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple")
    assert client.get_server_metadata().name
    assert client.get_model_metadata("simple", as_json=True)["name"] == "simple"


@check("model:simple")
def infer(client: triton.InferenceServerClient) -> None:
    answer = client.infer("simple", tensors(), request_id="7")
    right(answer)
    assert answer.get_response().id == "7"


@check("model:simple")
def requested_outputs(client: triton.InferenceServerClient) -> None:
    answer = client.infer("simple", tensors(), outputs=[triton.InferRequestedOutput("OUTPUT1")])
    assert (answer.as_numpy("OUTPUT1") == A - B).all()
    assert answer.as_numpy("OUTPUT0") is None


@check("model:simple", "compression")
def compression(client: triton.InferenceServerClient) -> None:
    for algorithm in ("gzip", "deflate"):
        right(client.infer("simple", tensors(), compression_algorithm=algorithm))


@check("model:simple_string")
def strings(client: triton.InferenceServerClient) -> None:
    sent = [tensor(name, array.astype(bytes).astype(object), "BYTES") for name, array in (("INPUT0", A), ("INPUT1", B))]
    answer = client.infer("simple_string", sent)
    assert (answer.as_numpy("OUTPUT0").astype(np.int32) == A + B).all()


@check("model:identity_bf16")
def bfloat16(client: triton.InferenceServerClient) -> None:
    sent = np.array([[1.5, -2.0, 0.0]], ml_dtypes.bfloat16)
    assert (client.infer("identity_bf16", [tensor("INPUT0", sent, "BF16")]).as_numpy("OUTPUT0") == sent).all()


@check("model:simple")
def many_at_once(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for _ in range(20):
        client.async_infer("simple", tensors(), callback=lambda result, error: answers.put(error or result))
    for _ in range(20):
        right(answers.get(timeout=20))


@check("model:simple", "classification")
def classes(client: triton.InferenceServerClient) -> None:
    output = triton.InferRequestedOutput("OUTPUT0", class_count=2)
    [first, second] = client.infer("simple", tensors(), outputs=[output]).as_numpy("OUTPUT0").ravel()
    assert first.startswith(b"16")
    assert second.startswith(b"15")


@check("model:simple")
def errors(client: triton.InferenceServerClient) -> None:
    with raises(InferenceServerException) as caught:
        client.infer("no_such_model", tensors())
    assert caught[0].status() in ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT")
    assert "no_such_model" in caught[0].message()


@check("model:simple", "statistics")
def statistics(client: triton.InferenceServerClient) -> None:
    [found] = client.get_inference_statistics("simple").model_stats
    assert found.inference_stats.success.count > 0


@check("model:simple", "config")
def config(client: triton.InferenceServerClient) -> None:
    assert client.get_model_config("simple").config.name == "simple"


@check("model:simple", "repository")
def repository(client: triton.InferenceServerClient) -> None:
    assert "simple" in {item.name for item in client.get_model_repository_index().models}


def streamed(client: triton.InferenceServerClient, count: int, requests: list[dict[str, Any]]) -> list[Any]:
    """So many responses of a stream."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(partial(lambda result, error: answers.put(error or result)))
    for asked in requests:
        client.async_stream_infer(**asked)
    found = [answers.get(timeout=20) for _ in range(count)]
    client.stop_stream()
    return found


@check("model:simple", "streaming")
def stream(client: triton.InferenceServerClient) -> None:
    requests = [{"model_name": "simple", "inputs": tensors(), "request_id": str(index)} for index in range(10)]
    answers = streamed(client, 10, requests)
    for answer in answers:
        right(answer)
    assert {answer.get_response().id for answer in answers} == set(map(str, range(10)))


@check("model:simple", "streaming")
def errors_on_a_stream(client: triton.InferenceServerClient) -> None:
    requests = [{"model_name": name, "inputs": tensors()} for name in ("no_such_model", "simple")]
    answers = streamed(client, 2, requests)
    assert sorted(isinstance(answer, InferenceServerException) for answer in answers) == [False, True]


@check("model:sequence_sum", "streaming", "sequence")
def sequence(client: triton.InferenceServerClient) -> None:
    requests = [
        {
            "model_name": "sequence_sum",
            "inputs": [tensor("INPUT", np.array([[value]], np.int32), "INT32")],
            "sequence_id": 434343,
            "sequence_start": value == 1,
            "sequence_end": value == 3,
        }
        for value in (1, 2, 3)
    ]
    assert [answer.as_numpy("OUTPUT").item() for answer in streamed(client, 3, requests)] == [1, 3, 6]


@check("model:repeat_int32", "streaming", "decoupled")
def several_responses(client: triton.InferenceServerClient) -> None:
    [wait] = [list(item.shape) for item in client.get_model_metadata("repeat_int32").inputs if item.name == "WAIT"]
    inputs = [
        tensor("IN", np.array([7, 5, 3], np.int32), "INT32"),
        tensor("DELAY", np.zeros(3, np.uint32), "UINT32"),
        tensor("WAIT", np.zeros(3 if wait == [-1] else 1, np.uint32), "UINT32"),
    ]
    answers = streamed(client, 3, [{"model_name": "repeat_int32", "inputs": inputs}])
    assert [answer.as_numpy("OUT").item() for answer in answers] == [7, 5, 3]


if __name__ == "__main__":
    main(triton.InferenceServerClient(sys.argv[1], channel_args=[("grpc.enable_retries", 0)]))
