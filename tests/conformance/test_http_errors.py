"""What HTTP answers to requests that are wrong: 4xx, the protocol's error object, and a server that serves on."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest import SUM, A, B, Rest, binary_body, binary_tensor, refused, simple, tensor, values

pytestmark = pytest.mark.model("simple")
INFER = "/v2/models/simple/infer"


@pytest.fixture(autouse=True)
def _serves_on(rest: Rest) -> Any:
    """After each refusal the next request is answered."""
    yield
    assert values(rest.answer("simple", simple()), "OUTPUT0") == SUM


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The request for `simple` with something wrong in it."""
    document = simple()
    change(document)
    return document


def first(**fields: Any) -> Callable[[dict[str, Any]], object]:
    """A change of the first input's fields."""
    return lambda document: document["inputs"][0].update(fields)


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "no inputs": lambda document: document.pop("inputs"),
    "inputs are no list": lambda document: document.update(inputs={"INPUT0": A}),
    "an input is no object": lambda document: document["inputs"].append(7),
    "an input is missing": lambda document: document["inputs"].pop(),
    "an input twice": lambda document: document["inputs"].append(document["inputs"][0]),
    "an unknown input": first(name="INPUT7"),
    "an input without name": lambda document: document["inputs"][0].pop("name"),
    "an input without datatype": lambda document: document["inputs"][0].pop("datatype"),
    "an input without shape": lambda document: document["inputs"][0].pop("shape"),
    "an input without data": lambda document: document["inputs"][0].pop("data"),
    "an unknown datatype": first(datatype="INT31"),
    "another datatype": first(datatype="FP32"),
    "fewer values than the shape": first(data=A[:15]),
    "more values than the shape": first(data=[*A, 16]),
    "a shape that the model does not take": first(shape=[1, 15], data=A[:15]),
    "another number of dimensions": first(shape=[16]),
    "a negative size": first(shape=[-1, 16]),
    "a huge size": first(shape=[2**62, 16]),
    "a shape that is text": first(shape="1,16"),
    "data that is text": first(data="0123456789abcdef"),
    "data with text in it": first(data=["zero", *A[1:]]),
    "data with null in it": first(data=[None, *A[1:]]),
    "data with an object in it": first(data=[{}, *A[1:]]),
    "more rows in one input": first(shape=[2, 16], data=A * 2),
    "an unknown output": lambda document: document.update(outputs=[{"name": "OUTPUT7"}]),
    "outputs are no list": lambda document: document.update(outputs="OUTPUT0"),
    "parameters are no object": lambda document: document.update(parameters=[1]),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in WRONG.items()])
def test_wrong_requests(rest: Rest, change: Callable[[dict[str, Any]], object]) -> None:
    """OIP REST, "Inference Response JSON Error Object": "must be indicated by an HTTP error status"."""
    refused(rest.infer("simple", changed(change)))


def test_values_outside_the_datatype(rest: Rest) -> None:
    """OIP REST, "Tensor Data": "coerce each element to the required type or return an error", but never fail."""
    response = rest.infer("simple", changed(first(data=[2**31, *A[1:]])))
    if response.status_code != 200:
        refused(response)


BODIES = {
    "empty": b"",
    "not JSON": b"INPUT0=1",
    "cut off": json.dumps(simple()).encode()[:-7],
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "not UTF-8": b'{"inputs": "\xff\xfe"}',
    "deeply nested": b'{"inputs":' + b"[" * 100_000,
    "deeply nested and closed": b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in BODIES.items()])
def test_wrong_bodies(rest: Rest, body: bytes) -> None:
    """OIP REST, "Inference Request JSON Object": it "is required in the HTTP body"."""
    refused(rest.post(INFER, body))


def test_unknown_model(rest: Rest) -> None:
    """OIP REST, "Inference Response JSON Error Object"."""
    assert "no_such_model" in refused(rest.infer("no_such_model", simple()))


def test_unknown_version(rest: Rest) -> None:
    """OIP REST, "Inference": a version that the model does not have."""
    refused(rest.infer("simple", simple(), "987654"))


def test_unknown_path(rest: Rest) -> None:
    """OIP REST, paths: anything else is not found."""
    assert rest.get("/v2/no/such/path").status_code in (400, 404)


@pytest.mark.parametrize(("method", "path"), [("GET", INFER), ("DELETE", INFER), ("POST", "/v2/health/live")])
def test_wrong_method(rest: Rest, method: str, path: str) -> None:
    """OIP REST, table of APIs: each path has one verb."""
    assert 400 <= rest.client.request(method, path).status_code < 500


@pytest.mark.needs("binary")
@pytest.mark.parametrize("size", ["x", "-1", "1000000", "1.5", "99999999999999999999"])
def test_wrong_header_length(rest: Rest, size: str) -> None:
    """Triton, "Binary Tensor Data Extension": Inference-Header-Content-Length is "the length of the JSON object"."""
    content, headers = binary_body(simple())
    refused(rest.post(INFER, content, {**headers, "Inference-Header-Content-Length": size}))


@pytest.mark.needs("binary")
@pytest.mark.parametrize("size", [-1, 0, 63, 65, 2**40, "64", None, 1.5])
def test_wrong_binary_size(rest: Rest, size: object) -> None:
    """Triton, "Binary Tensor Request": binary_data_size is "the size of the tensor binary data, in bytes"."""
    declared, data = binary_tensor("INPUT1", "INT32", [1, 16], B)
    declared["parameters"] = {"binary_data_size": size}
    document = {"inputs": [tensor("INPUT0", "INT32", [1, 16], A), declared]}
    refused(rest.infer_binary("simple", document, data))


@pytest.mark.needs("binary")
def test_bytes_left_over(rest: Rest) -> None:
    """Triton, "Binary Tensor Request": the body is the JSON followed by the tensors' bytes, nothing else."""
    declared, data = binary_tensor("INPUT1", "INT32", [1, 16], B)
    document = {"inputs": [tensor("INPUT0", "INT32", [1, 16], A), declared]}
    refused(rest.infer_binary("simple", document, data, b"more"))


@pytest.mark.needs("binary")
@pytest.mark.model("identity_bytes")
@pytest.mark.parametrize("data", [b"\x05\0\0\0abc", b"\xff\xff\xff\xffabc", b"\x01\0", b"\x01\0\0\0a\x01\0\0\0b"])
def test_broken_bytes_elements(rest: Rest, data: bytes) -> None:
    """Triton, "Binary Tensor Request": a BYTES element is "a 4-byte unsigned integer giving the length", then bytes."""
    declared = {"name": "INPUT0", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": len(data)}}
    refused(rest.infer_binary("identity_bytes", {"inputs": [declared]}, data))
