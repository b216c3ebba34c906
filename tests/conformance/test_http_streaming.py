"""Generate, generate_stream and sequences over HTTP."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rest import Rest, output, refused, tensor, values

SEQUENCE_IDS = itertools.count(time.time_ns() // 1000 % 2**31)


def events(rest: Rest, path: str, document: dict[str, Any]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Arrival time and JSON of each server-sent event."""
    headers = {"content-type": "application/json"}
    with rest.client.stream("POST", path, content=json.dumps(document), headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line:
                assert line.startswith("data:"), line
                yield time.monotonic(), json.loads(line.removeprefix("data:"))


def repeat(items: list[int], delay_ms: int = 0, wait_ms: int = 0, wait_size: int = 1) -> dict[str, Any]:
    """A generate request for `repeat_int32`."""
    return {"IN": items, "DELAY": [delay_ms] * len(items), "WAIT": [wait_ms] * wait_size}


@pytest.fixture
def wait_size(rest: Rest) -> Any:
    """How many values WAIT takes for a number of elements: one, unless the model's metadata says any number."""
    inputs = {item["name"]: item["shape"] for item in rest.get("/v2/models/repeat_int32").json()["inputs"]}
    return lambda count: count if inputs["WAIT"] == [-1] else 1


@pytest.mark.needs("generate")
@pytest.mark.model("simple_identity")
def test_generate(rest: Rest) -> None:
    """Triton, "Generate Extension": properties named as inputs are tensors; exactly one JSON object comes back."""
    response = rest.post("/v2/models/simple_identity/generate", json.dumps({"INPUT0": "hello €", "id": "42"}))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/json")
    document = response.json()
    assert document["model_name"] == "simple_identity"
    assert document["OUTPUT0"] == "hello €"
    assert document["id"] == "42"


@pytest.mark.needs("generate")
@pytest.mark.model("simple_identity")
def test_generate_stream_of_one(rest: Rest) -> None:
    """Triton, "generate vs. generate_stream": server-sent events, also when there is one response."""
    [(_, event)] = events(rest, "/v2/models/simple_identity/generate_stream", {"INPUT0": "hello"})
    assert event["OUTPUT0"] == "hello"
    assert event["model_name"] == "simple_identity"


@pytest.mark.needs("generate")
@pytest.mark.model("simple_identity")
@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize("body", [b"", b"[]", b'{"INPUT0": ', b"{}", b'{"INPUT0": {"a": 1}}'])
def test_wrong_generate(rest: Rest, verb: str, body: bytes) -> None:
    """Triton, "Generate Response JSON Error Object": "before inference begins … a JSON error", also for streams."""
    refused(rest.post(f"/v2/models/simple_identity/{verb}", body))


@pytest.mark.needs("generate")
@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_generate_of_an_unknown_model(rest: Rest, verb: str) -> None:
    """Triton, "Generate Response JSON Error Object"."""
    refused(rest.post(f"/v2/models/no_such_model/{verb}", b'{"INPUT0": "hello"}'))


@pytest.mark.needs("generate", "decoupled")
@pytest.mark.model("repeat_int32")
def test_generate_stream_of_many(rest: Rest, wait_size: Any) -> None:
    """Triton, "generate vs. generate_stream": "may return multiple responses", each a `data` event, in order."""
    document = repeat([7, 5, 3], wait_size=wait_size(3))
    found = [event for _, event in events(rest, "/v2/models/repeat_int32/generate_stream", document)]
    assert [event["OUT"] for event in found] == [7, 5, 3]
    assert [event["IDX"] for event in found] == [0, 1, 2]


@pytest.mark.needs("generate", "decoupled")
@pytest.mark.model("repeat_int32")
def test_events_come_when_they_are_ready(rest: Rest, wait_size: Any) -> None:
    """Triton, "Generate Extension": responses are streamed: the first is there before the last is made."""
    document = repeat([1, 2, 3, 4], delay_ms=300, wait_size=wait_size(4))
    times = [at for at, _ in events(rest, "/v2/models/repeat_int32/generate_stream", document)]
    assert len(times) == 4
    assert times[-1] - times[0] > 0.6


@pytest.mark.needs("generate", "decoupled")
@pytest.mark.model("repeat_int32", "simple_identity")
def test_a_client_that_leaves_a_stream(rest: Rest, wait_size: Any) -> None:
    """Triton, "Generate Extension": a stream that nobody reads to its end hurts no other request."""
    document = repeat([1] * 20, delay_ms=200, wait_size=wait_size(20))
    stream = events(rest, "/v2/models/repeat_int32/generate_stream", document)
    next(stream)
    stream.close()
    started = time.monotonic()
    rest.answer("simple_identity", {"inputs": [tensor("INPUT0", "BYTES", [1, 1], [b"x"])]})
    assert time.monotonic() - started < 2


@pytest.mark.needs("decoupled")
@pytest.mark.model("repeat_int32")
def test_infer_of_a_streaming_model(rest: Rest, wait_size: Any) -> None:
    """Triton, "Decoupled Backends and Models": /infer has room for one response, so several are refused."""
    size = wait_size(2)
    inputs = [
        tensor("IN", "INT32", [2], [7, 5]),
        tensor("DELAY", "UINT32", [2], [0, 0]),
        tensor("WAIT", "UINT32", [size], [0] * size),
    ]
    response = rest.infer("repeat_int32", {"inputs": inputs})
    assert response.status_code == 501 or refused(response)
    assert response.json()["error"]


def step(rest: Rest, model: str, value: int, sequence: int | str, **flags: bool) -> int:
    """One request of a sequence; the output's value."""
    parameters = {"sequence_id": sequence, **{f"sequence_{name}": flag for name, flag in flags.items()}}
    document = {"inputs": [tensor("INPUT", "INT32", [1, 1], [value])], "parameters": parameters}
    answer = rest.answer(model, document)
    assert output(answer, "OUTPUT")["shape"] == [1, 1]
    [found] = values(answer, "OUTPUT")
    return int(found)


@pytest.mark.needs("sequence")
@pytest.mark.model("simple_sequence")
def test_start_reaches_the_model(rest: Rest) -> None:
    """Triton, "Sequence Extension": `sequence_start`; the model `simple_sequence` adds it (1 or 0) to INPUT."""
    sequence = next(SEQUENCE_IDS)
    assert step(rest, "simple_sequence", 20, sequence, start=True) == 21
    assert step(rest, "simple_sequence", 20, sequence) == 20
    assert step(rest, "simple_sequence", 5, sequence, end=True) == 5


@pytest.mark.needs("sequence")
@pytest.mark.model("sequence_sum")
def test_state_is_kept_in_a_sequence(rest: Rest) -> None:
    """Triton, "Sequence Extension": requests of one `sequence_id` belong together; two sequences do not mix."""
    one, other = next(SEQUENCE_IDS), next(SEQUENCE_IDS)
    assert step(rest, "sequence_sum", 1, one, start=True) == 1
    assert step(rest, "sequence_sum", 100, other, start=True) == 100
    assert [step(rest, "sequence_sum", value, one) for value in (2, 3)] == [3, 6]
    assert step(rest, "sequence_sum", 1, other, end=True) == 101
    assert step(rest, "sequence_sum", 4, one, end=True) == 10


@pytest.mark.needs("sequence")
@pytest.mark.model("sequence_sum")
def test_start_begins_anew(rest: Rest) -> None:
    """Triton, "Sequence Extension": `sequence_start` "is the first in a sequence", also of an id in use."""
    sequence = next(SEQUENCE_IDS)
    assert step(rest, "sequence_sum", 5, sequence, start=True) == 5
    assert step(rest, "sequence_sum", 7, sequence, start=True) == 7
    assert step(rest, "sequence_sum", 1, sequence, end=True) == 8


@pytest.mark.needs("sequence", "string_ids")
@pytest.mark.model("sequence_sum")
def test_ids_that_are_text(rest: Rest) -> None:
    """Triton, "Sequence Extension": sequence_id is "a string or uint64 value"."""
    sequence = f"e333c95a-{next(SEQUENCE_IDS)}"
    assert step(rest, "sequence_sum", 5, sequence, start=True) == 5
    assert step(rest, "sequence_sum", 6, sequence, end=True) == 11


@pytest.mark.needs("sequence")
@pytest.mark.model("sequence_sum")
@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"sequence_start": True}, id="start without an id"),
        pytest.param({"sequence_id": 987_654_321_987}, id="not started"),
        pytest.param({}, id="no sequence"),
    ],
)
def test_wrong_sequences(rest: Rest, parameters: dict[str, Any]) -> None:
    """Triton, "Sequence Extension": start and end want a "non-zero or non-empty" id; a stateful model a sequence."""
    document = {"inputs": [tensor("INPUT", "INT32", [1, 1], [1])], "parameters": parameters}
    refused(rest.infer("sequence_sum", document))
