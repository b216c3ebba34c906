"""tritonclient.grpc: all calls beside plain inference, of the graph `cascade`. Argument: host:port."""

import queue
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

ROWS = np.array([[20, 2]], np.float32)
ANSWER = np.array([[21, 3]], np.float32)


def tensor(rows: np.ndarray) -> triton.InferInput:
    made = triton.InferInput("x", list(rows.shape), "FP32")
    made.set_data_from_numpy(rows)
    return made


def main(address: str) -> None:
    client = triton.InferenceServerClient(address)
    describe(client)
    options(client)
    repository(client)
    stream(client)


def refused(code: str, call: Callable[[], object]) -> None:
    status = None
    try:
        call()
    except InferenceServerException as error:
        status = error.status()
    assert status == f"StatusCode.{code}", status


def describe(client: triton.InferenceServerClient) -> None:
    assert client.is_model_ready("cascade", "1")
    assert not client.is_model_ready("cascade", "7")
    config = client.get_model_config("cascade").config
    assert (config.name, config.input[0].name, list(config.input[0].dims)) == ("cascade", "x", [2])
    assert client.get_model_config("cascade", as_json=True)["config"]["backend"] == "millrace"


def options(client: triton.InferenceServerClient) -> None:
    before = statistics(client)
    answer = client.infer("cascade", [tensor(ROWS)], request_id="7", priority=3, timeout=20_000_000, client_timeout=20)
    assert answer.get_response().id == "7"
    np.testing.assert_array_equal(answer.as_numpy("y"), ANSWER)
    classes = client.infer("cascade", [tensor(ROWS)], outputs=[triton.InferRequestedOutput("y", class_count=1)])
    assert classes.as_numpy("y").tolist() == [[b"21.000000:0"]]
    assert statistics(client) - before == 2
    refused("NOT_FOUND", lambda: client.infer("cascade", [tensor(ROWS)], model_version="9"))


def statistics(client: triton.InferenceServerClient) -> int:
    [model] = client.get_inference_statistics("cascade").model_stats
    return int(model.inference_stats.success.count)


def repository(client: triton.InferenceServerClient) -> None:
    assert "cascade" in {model.name for model in client.get_model_repository_index().models}
    client.load_model("cascade")
    refused("UNIMPLEMENTED", lambda: client.unload_model("cascade"))


def stream(client: triton.InferenceServerClient) -> None:
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(20):
        client.async_stream_infer("cascade", [tensor(ROWS + number)], request_id=str(number))
    client.async_stream_infer("made up", [tensor(ROWS)], request_id="wrong")
    client.async_stream_infer("cascade", [tensor(ROWS)], request_id="last")
    found = [answers.get(timeout=30) for _ in range(22)]
    client.stop_stream()
    for number, (result, error) in enumerate(found[:20]):
        assert error is None, error
        assert result.get_response().id == str(number)
        np.testing.assert_array_equal(result.as_numpy("y"), ANSWER + number)
        assert result.get_response().parameters["triton_final_response"].bool_param
    assert "unknown model" in str(found[20][1])
    assert found[21][0].get_response().id == "last"


if __name__ == "__main__":
    main(sys.argv[1])
