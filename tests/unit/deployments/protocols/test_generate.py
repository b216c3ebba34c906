import json
import re
from typing import Any

import numpy as np
import pytest

from configs.errors import InvalidInput
from configs.tensors import Signature
from deployments.protocols import generate
from deployments.protocols.request import InferRequest
from tests.unit.deployments.protocols.samples import FLOATS, asking, signature

TEXT = signature(text_input="BYTES[-1, 1]")


def decode(document: Any, graph: Signature = FLOATS) -> InferRequest:
    return generate.decode(json.dumps(document).encode(), graph, "m", "1")


@pytest.mark.parametrize(
    ("spec", "value", "expected"),
    [
        ("BYTES[-1, 1]", "é", [["é".encode()]]),
        ("BYTES[-1]", "a", [b"a"]),
        ("BYTES[-1, 1]", {"b64": "/w=="}, [[b"\xff"]]),
        ("BYTES[-1]", ["a"], [b"a"]),
        ("FP32[-1, 2]", [1, 2], [[1, 2]]),
        ("FP32[-1, -1]", 1, [[1]]),
        ("FP32[-1, -1, 2]", [1, 2, 3, 4], [[[1, 2], [3, 4]]]),
        ("FP32[-1, -1, -1]", [[1, 2]], [[[1, 2]]]),
        ("INT32[-1, 1, 1]", 7, [[[7]]]),
    ],
)
def test_a_row_is_a_value_its_elements_or_nested(spec: str, value: Any, expected: list) -> None:
    assert decode({"x": value}, signature(x=spec)).rows["x"].tolist() == expected


def test_everything_else_is_a_parameter() -> None:
    sent = {"id": "7", "text_input": "a", "parameters": {"timeout": 5, "seed": 1}, "priority": 2, "seed": 3}
    request = decode(sent, TEXT)
    assert request.id == "7"
    assert request.parameters == {"timeout": 5, "priority": 2, "seed": 3}
    named = signature(id="INT32[-1]", parameters="INT32[-1]")
    assert decode({"id": 1, "parameters": 2}, named).rows["parameters"].tolist() == [2]


def test_the_answer_is_an_object_of_outputs() -> None:
    outputs = {"text": np.array([[b"a"]], object), "ids": np.array([[1, 2]]), "score": np.array([0.5], np.float16)}
    assert json.loads(generate.encode(asking(id="7"), outputs, "m", "1")) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "text": "a",
        "ids": [1, 2],
        "score": 0.5,
    }
    texts = {"texts": np.array([[b"a", b"\xff"]], object)}
    assert json.loads(generate.encode(asking(), texts, "m", "1"))["texts"] == ["a", {"b64": "/w=="}]


def test_an_event_is_one_line_of_data() -> None:
    line = generate.encode(asking(), {"text": np.array([b"a\nb"], object)}, "m", "1")
    assert generate.event(line) == b'data: {"model_name":"m","model_version":"1","text":"a\\nb"}\n\n'


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (1, "the body is JSON, but not an object of inputs and parameters"),
        ({}, "missing input 'x'"),
        ({"x": [1, 2, 3]}, "input 'x' came as one row of shape [3], expected [2]"),
        ({"x": 1}, "input 'x': shape [1, 2] needs 2 elements, data has 1"),
        ({"x": [[1, 2]]}, "input 'x' is nested 2 deep, expected one row of shape [2]"),
        ({"x": [1, "a"]}, "input 'x': element 1 is the string 'a'"),
        ({"x": None}, "input 'x': shape [1, 2] needs 2 elements, data has 1"),
        ({"x": [1, 2], "stop": ["a"]}, "parameter 'stop' is ['a'], expected a string, a number or a boolean"),
        ({"x": [1, 2], "parameters": [1]}, "`parameters` must be an object, got [1]"),
        ({"x": [1, 2], "id": None}, "id is None, expected a string"),
    ],
)
def test_malformed(document: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        decode(document)


def test_a_flat_list_fits_one_dimension_of_any_size() -> None:
    with pytest.raises(InvalidInput, match=r"no shape .* follows; nest the list"):
        decode({"x": 1}, signature(x="FP32[-1, -1, -1]"))
    with pytest.raises(InvalidInput, match=re.escape("shape [1, 1, 2] needs 2 elements, data has 3")):
        decode({"x": [1, 2, 3]}, signature(x="FP32[-1, -1, 2]"))
