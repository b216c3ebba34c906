import base64
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from configs.errors import InvalidInput, UnsupportedMediaType
from configs.tensors import Datatype, Signature
from deployments.protocols import plain
from deployments.protocols.request import InferRequest
from tests.unit.deployments.protocols.samples import (
    FLOATS,
    asking,
    same,
    signature,
    signature_of_array,
    tensors,
)

IMAGE = signature(image="BYTES[-1]")
IMAGE_AND_K = signature(image="BYTES[-1]", k="INT32[-1]")
FORM = "multipart/form-data; boundary=cut"


def decode(value: Any, graph: Signature = FLOATS, content_type: str = "application/json") -> InferRequest:
    return plain.decode(value if isinstance(value, bytes) else json.dumps(value).encode(), content_type, graph)


def refused(value: Any, message: str, graph: Signature = FLOATS, content_type: str = "application/json") -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        decode(value, graph, content_type)


def form(*parts: tuple[str, bytes]) -> bytes:
    head = b'--cut\r\nContent-Disposition: form-data; name="%s"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return b"".join(head % name.encode() + content + b"\r\n" for name, content in parts) + b"--cut--\r\n"


@given(tensors())
@settings(max_examples=150, deadline=None)
def test_round_trip(case: tuple[Datatype, np.ndarray]) -> None:
    datatype, array = case
    graph = signature_of_array(datatype, array)
    answer = plain.encode(asking(), {"x": array})
    request = decode(answer, graph)
    assert not request.single
    assert same(request.rows["x"], array)
    one = plain.encode(asking(single=True), {"x": array})
    assert json.loads(one)["x"] == json.loads(answer)["x"][0]
    request = decode(one, graph)
    assert request.single
    assert same(request.rows["x"], array[:1])


def test_all_inputs_leave_out_the_leading_dimension_or_none() -> None:
    graph = signature(a="FP32[-1, 2]", k="INT32[-1]")
    request = decode({"a": [1, 2], "k": 3}, graph, "")
    assert request.single
    assert {name: array.tolist() for name, array in request.rows.items()} == {"a": [[1, 2]], "k": [3]}
    refused(
        {"a": [[1, 2]], "k": 3}, "'k' came as one row without the leading dimension, the other inputs with it", graph
    )


def test_bytes_are_strings_or_base64() -> None:
    request = decode({"image": ["é", {"b64": base64.b64encode(b"\xff").decode()}]}, IMAGE)
    assert request.rows["image"].tolist() == ["é".encode(), b"\xff"]
    answer = plain.encode(request, {"back": request.rows["image"]})
    assert json.loads(answer) == {"back": ["é", {"b64": "/w=="}]}


def test_nan_is_null() -> None:
    assert plain.encode(asking(single=True), {"y": np.array([np.nan])}) == b'{"y":null}'


@pytest.mark.parametrize("content_type", ["application/octet-stream", "image/jpeg", "IMAGE/PNG; q=1"])
def test_a_raw_body_is_one_row(content_type: str) -> None:
    request = decode(b"\xff\xd8", IMAGE, content_type)
    assert request.single
    assert request.rows["image"].tolist() == [b"\xff\xd8"]
    deeper = decode(b"\xff\xd8", signature(image="BYTES[-1, 1]"), content_type)
    assert deeper.rows["image"].tolist() == [[b"\xff\xd8"]]


def test_form_files_are_rows() -> None:
    one = decode(form(("image", b"\xff\r\n--cu"), ("k", b"3")), IMAGE_AND_K, FORM)
    assert one.single
    assert {name: array.tolist() for name, array in one.rows.items()} == {"image": [b"\xff\r\n--cu"], "k": [3]}
    two = decode(form(("image", b"a"), ("k", b"[3, 4]"), ("image", b"")), IMAGE_AND_K, FORM)
    assert not two.single
    assert {name: array.tolist() for name, array in two.rows.items()} == {"image": [b"a", b""], "k": [3, 4]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "the body is empty; send application/json"),
        (b"x=1", "the body is not JSON: "),
        ([1], 'the body is JSON, but not an object of inputs like {"name": [...]}'),
        ({}, "missing input 'x'; the graph takes x (FP32[-1, 2])"),
        ({"y": 1}, "unknown input 'y'; the graph takes x (FP32[-1, 2])"),
        ({"x": None}, "input 'x' is null, expected lists of shape [-1, 2]"),
        ({"x": 1}, "input 'x' is 1, expected lists of shape [-1, 2]"),
        ({"x": [1, 2, 3]}, "input 'x' came as one row of shape [3], expected [2]; several rows have the shape [-1, 2]"),
        ({"x": [[]]}, "input 'x' has shape [1, 0], expected [-1, 2]"),
        ({"x": []}, "input 'x' is an empty list: zero rows; send at least one row"),
        ({"x": [[[1, 2]]]}, "input 'x' has shape [1, 1, 2], expected [-1, 2]"),
        ({"x": [[1, 2], [3]]}, "dimension 1 needs lists of 2 elements, found a list of 1"),
        ({"x": [1, [2]]}, "input 'x': element 1 is a list; FP32 takes numbers"),
        ({"x": [1, "2"]}, "input 'x': element 1 is the string '2'; FP32 takes numbers"),
        (
            {"x": json.loads("[" * 500 + "]" * 500)},
            "input 'x' has shape [1, 1, 1, 1, 1, 1, 1, 1, ...], expected [-1, 2]",
        ),
    ],
)
def test_malformed_json(value: Any, message: str) -> None:
    refused(value, message)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        (1, 'BYTES takes strings or {"b64": "…"}, not 1'),
        ({"b64": 1}, 'BYTES takes strings or {"b64": "…"}, not {'),
        ({"b64": "?"}, 'the value of "b64" is not base64: '),
        ({"b64": "é"}, 'the value of "b64" is not base64: '),
    ],
)
def test_malformed_bytes(element: Any, message: str) -> None:
    refused({"image": [element]}, f"input 'image': {message}", IMAGE)


@pytest.mark.parametrize(
    ("sent", "content_type", "message"),
    [
        (form(("image", b"a")), "multipart/form-data", "multipart/form-data needs a boundary"),
        (b"x", FORM, "the multipart body is broken: "),
        (form(("image", b"a"))[:-6], FORM, "the multipart body ends before its closing boundary"),
        (form(("", b"a")), FORM, "a part of the multipart body has no name"),
        (form(("other", b"a")), FORM, "unknown input 'other'; the graph takes image (BYTES[-1]), k (INT32[-1])"),
        (form(("image", b"a")), FORM, "missing input 'k'"),
        (form(("k", b"1"), ("k", b"1")), FORM, "input 'k' is given twice"),
        (form(("k", b"one")), FORM, "the part for input 'k' is not JSON: "),
        (
            form(("image", b"a"), ("image", b"b"), ("k", b"1")),
            FORM,
            "'k' came as one row without the leading dimension",
        ),
        (form(*[("image", b"")] * 1025), FORM, "more than 1024 parts; send several requests"),
    ],
)
def test_malformed_forms(sent: bytes, content_type: str, message: str) -> None:
    refused(sent, message, IMAGE_AND_K, content_type)


@pytest.mark.parametrize(
    ("graph", "content_type", "accepted"),
    [
        (FLOATS, "image/jpeg", "application/json"),
        (FLOATS, "multipart/form-data", "application/json"),
        (IMAGE_AND_K, "image/jpeg", "application/json or multipart/form-data"),
        (IMAGE, "text/plain", "application/json or multipart/form-data or application/octet-stream or image/*"),
        (IMAGE, "text/csv", "application/json or multipart/form-data or application"),
    ],
)
def test_other_content_types_are_refused(graph: Signature, content_type: str, accepted: str) -> None:
    message = f"content type '{content_type}' is not read here; send {accepted}"
    with pytest.raises(UnsupportedMediaType, match=re.escape(message)):
        decode(b"x", graph, content_type)
