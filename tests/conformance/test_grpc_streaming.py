"""ModelStreamInfer: many requests and many responses on one stream; sequences; models with several responses."""

import itertools
import queue
import time
from typing import Any

import grpc
import pytest
from messages import message
from rest import DIFFERENCE, SUM, A, B
from rpc import Rpc, request, simple, values

pytestmark = [pytest.mark.needs("streaming"), pytest.mark.model("simple")]

SEQUENCE_IDS = itertools.count(time.time_ns() // 1000 % 2**31)


def good(answers: Any) -> list[Any]:
    """The responses of a stream without errors."""
    found = list(answers)
    assert not [answer.error_message for answer in found if answer.error_message]
    return [answer.infer_response for answer in found]


def test_one_request(rpc: Rpc) -> None:
    """Triton, "Sequence Extension", "GRPC": ModelStreamInfer takes what ModelInfer takes."""
    [answer] = good(rpc.stream([simple(id="1")]))
    assert answer.id == "1"
    assert answer.model_name == "simple"
    assert values(answer, "OUTPUT0") == SUM
    assert values(answer, "OUTPUT1") == DIFFERENCE


def test_no_request(rpc: Rpc) -> None:
    """Triton, "Sequence Extension", "GRPC": a stream that is closed at once ends with OK."""
    assert list(rpc.stream([])) == []


def test_many_requests(rpc: Rpc) -> None:
    """Triton, "Sequence Extension", "GRPC": each request of a stream is answered once, under its own id."""
    asked = [
        request("simple", ("INPUT0", "INT32", [1, 16], [index] * 16), ("INPUT1", "INT32", [1, 16], B), id=str(index))
        for index in range(50)
    ]
    found = {answer.id: values(answer, "OUTPUT0") for answer in good(rpc.stream(asked))}
    assert found == {str(index): [index + 1] * 16 for index in range(50)}


def test_answers_come_while_the_stream_is_open(rpc: Rpc) -> None:
    """Triton, "Sequence Extension", "GRPC": bidirectional; a response does not wait for the end of the requests."""
    waiting: queue.Queue[Any] = queue.Queue()
    answers = rpc.stream(iter(waiting.get, None))
    for index in range(3):
        waiting.put(simple(id=str(index)))
        assert next(answers).infer_response.id == str(index)
    waiting.put(None)
    assert list(answers) == []


def test_an_error_does_not_end_the_stream(rpc: Rpc) -> None:
    """Triton, ModelStreamInferResponse: `error_message`; the requests around it are answered."""
    wrong = request("simple", ("INPUT0", "INT32", [1, 16], A), id="wrong")
    unknown = request("no_such_model", ("INPUT0", "INT32", [1, 16], A), id="unknown")
    answers = list(rpc.stream([simple(id="first"), wrong, unknown, simple(id="last")]))
    assert len(answers) == 4
    assert sum(bool(answer.error_message) for answer in answers) == 2
    found = {answer.infer_response.id: answer.infer_response for answer in answers if not answer.error_message}
    assert sorted(found) == ["first", "last"]
    assert values(found["last"], "OUTPUT0") == SUM


def test_an_error_names_its_request(rpc: Rpc) -> None:
    """Triton, ModelStreamInferResponse: the response beside an error carries the request's id."""
    [answer] = rpc.stream([request("no_such_model", ("INPUT0", "INT32", [1, 16], A), id="7")])
    assert "no_such_model" in answer.error_message
    assert answer.infer_response.id == "7"


def test_streams_side_by_side(rpc: Rpc) -> None:
    """Triton, "Sequence Extension", "GRPC": a stream that waits for its client holds up no other."""
    waiting: queue.Queue[Any] = queue.Queue()
    open_ = rpc.stream(iter(waiting.get, None))
    waiting.put(simple(id="open"))
    assert next(open_).infer_response.id == "open"
    assert len(good(rpc.stream([simple(), simple()]))) == 2
    waiting.put(None)
    assert list(open_) == []


def test_a_client_that_leaves(rpc: Rpc) -> None:
    """gRPC, "Cancellation": a stream that its client cancels hurts no other call."""
    waiting: queue.Queue[Any] = queue.Queue()
    stream = rpc.stream(iter(waiting.get, None))
    waiting.put(simple())
    next(stream)
    stream.cancel()  # type: ignore[attr-defined]
    waiting.put(None)
    assert values(rpc.call("ModelInfer", simple()), "OUTPUT0") == SUM


def step(value: int, sequence: int | str, *flags: str, model: str = "sequence_sum") -> Any:
    """One request of a sequence."""
    asked = request(model, ("INPUT", "INT32", [1, 1], [value]), id=f"{sequence}_{value}")
    kind = "string_param" if isinstance(sequence, str) else "int64_param"
    setattr(asked.parameters["sequence_id"], kind, sequence)
    for flag in ("start", "end"):
        asked.parameters[f"sequence_{flag}"].bool_param = flag in flags
    return asked


@pytest.mark.needs("sequence")
@pytest.mark.model("sequence_sum")
def test_a_sequence_on_a_stream(rpc: Rpc) -> None:
    """Triton, "Sequence Extension", "GRPC": requests of two sequences over one stream, in order."""
    one, other = next(SEQUENCE_IDS), next(SEQUENCE_IDS)
    asked = [
        step(1, one, "start"),
        step(100, other, "start"),
        step(2, one),
        step(200, other),
        step(3, one, "end"),
        step(300, other, "end"),
    ]
    found: dict[str, list[int]] = {str(one): [], str(other): []}
    for answer in good(rpc.stream(asked)):
        found[answer.id.split("_")[0]] += values(answer, "OUTPUT")
    assert found == {str(one): [1, 3, 6], str(other): [100, 300, 600]}


@pytest.mark.needs("sequence")
@pytest.mark.model("sequence_sum")
def test_a_sequence_of_unary_calls(rpc: Rpc) -> None:
    """Triton, "Sequence Extension", "GRPC": the stream "is not required to be used"."""
    sequence = next(SEQUENCE_IDS)
    calls = [step(1, sequence, "start"), step(2, sequence), step(3, sequence, "end")]
    assert [values(rpc.call("ModelInfer", asked), "OUTPUT") for asked in calls] == [[1], [3], [6]]


@pytest.mark.needs("sequence", "string_ids")
@pytest.mark.model("sequence_sum")
def test_ids_that_are_text(rpc: Rpc) -> None:
    """Triton, "Sequence Extension": sequence_id is "a string or uint64 value"."""
    sequence = f"e333c95a-{next(SEQUENCE_IDS)}"
    answers = good(rpc.stream([step(5, sequence, "start"), step(6, sequence, "end")]))
    assert [values(answer, "OUTPUT") for answer in answers] == [[5], [11]]


@pytest.mark.needs("sequence")
@pytest.mark.model("simple_sequence")
def test_start_reaches_the_model(rpc: Rpc) -> None:
    """Triton, "Sequence Extension": `sequence_start`; the model `simple_sequence` adds it (1 or 0) to INPUT."""
    sequence, model = next(SEQUENCE_IDS), "simple_sequence"
    asked = [
        step(20, sequence, "start", model=model),
        step(5, sequence, model=model),
        step(3, sequence, "end", model=model),
    ]
    assert [values(answer, "OUTPUT") for answer in good(rpc.stream(asked))] == [[21], [5], [3]]


@pytest.fixture
def repeat(rpc: Rpc) -> Any:
    """Makes requests for `repeat_int32`; WAIT takes one value unless the model's metadata says any number."""
    metadata = rpc.call("ModelMetadata", message("ModelMetadataRequest")(name="repeat_int32"))
    shapes = {tensor.name: list(tensor.shape) for tensor in metadata.inputs}

    def make(items: list[int], delay_ms: int = 0, **fields: Any) -> Any:
        wait = [0] * (len(items) if shapes["WAIT"] == [-1] else 1)
        return request(
            "repeat_int32",
            ("IN", "INT32", [len(items)], items),
            ("DELAY", "UINT32", [len(items)], [delay_ms] * len(items)),
            ("WAIT", "UINT32", [len(wait)], wait),
            **fields,
        )

    return make


@pytest.mark.needs("decoupled")
@pytest.mark.model("repeat_int32")
def test_several_responses(rpc: Rpc, repeat: Any) -> None:
    """Triton, "Decoupled Backends and Models": one response for each element, in order, each under the request's id."""
    answers = good(rpc.stream([repeat([7, 5, 3], id="r")]))
    assert [answer.id for answer in answers] == ["r"] * 3
    assert [values(answer, "OUT") for answer in answers] == [[7], [5], [3]]
    assert [values(answer, "IDX") for answer in answers] == [[0], [1], [2]]


@pytest.mark.needs("decoupled")
@pytest.mark.model("repeat_int32")
def test_responses_come_when_they_are_ready(rpc: Rpc, repeat: Any) -> None:
    """Triton, "Decoupled Backends and Models": the first response is there before the last is made."""
    times = [time.monotonic() for _ in rpc.stream([repeat([1, 2, 3, 4], delay_ms=300)])]
    assert len(times) == 4
    assert times[-1] - times[0] > 0.6


@pytest.mark.needs("decoupled")
@pytest.mark.model("repeat_int32")
def test_requested_output_of_several_responses(rpc: Rpc, repeat: Any) -> None:
    """OIP gRPC, "Inference", InferRequestedOutputTensor: in each response."""
    answers = good(rpc.stream([repeat([7, 5], outputs=["OUT"])]))
    assert [[output.name for output in answer.outputs] for answer in answers] == [["OUT"], ["OUT"]]


@pytest.mark.needs("decoupled")
@pytest.mark.model("repeat_int32")
def test_final_response(rpc: Rpc, repeat: Any) -> None:
    """Triton, "Knowing When a Decoupled Inference Request is Complete": the parameter `triton_final_response`."""
    asked = repeat([7, 5])
    asked.parameters["triton_enable_empty_final_response"].bool_param = True
    answers = good(rpc.stream([asked]))
    final = [answer.parameters["triton_final_response"].bool_param for answer in answers]
    assert final.count(True) == 1
    assert final[-1] is True
    # The last response is empty, or it is the last element's.
    assert [values(answer, "OUT") for answer in answers if answer.outputs] == [[7], [5]]


@pytest.mark.needs("decoupled")
@pytest.mark.model("repeat_int32")
def test_several_requests_of_several_responses(rpc: Rpc, repeat: Any) -> None:
    """Triton, "Decoupled Backends and Models": responses of different requests may mix, each request's are in order."""
    found: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    asked = [repeat([1, 2, 3], id="a"), repeat([4, 5], id="b"), repeat([6], id="c")]
    for answer in good(rpc.stream(asked)):
        found[answer.id] += values(answer, "OUT")
    assert found == {"a": [1, 2, 3], "b": [4, 5], "c": [6]}


@pytest.mark.needs("decoupled")
@pytest.mark.model("repeat_int32")
def test_unary_call_of_a_streaming_model(rpc: Rpc, repeat: Any) -> None:
    """Triton, "Decoupled Backends and Models": ModelInfer has room for one response, so several are refused."""
    codes = [grpc.StatusCode[name] for name in ("UNIMPLEMENTED", "INVALID_ARGUMENT", "FAILED_PRECONDITION")]
    rpc.refused("ModelInfer", repeat([1, 2]), *codes)
