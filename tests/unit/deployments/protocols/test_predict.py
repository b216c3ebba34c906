import base64
import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from configs.errors import InvalidInput
from configs.tensors import Datatype, Signature
from deployments.protocols import predict
from tests.unit.deployments.protocols.samples import FLOATS, same, signature, signature_of_array, tensors

IMAGE = signature(image="BYTES[-1]")
PAIR = signature(a="FP32[-1, 2]", k="INT32[-1]")
ROWS = {name: np.asarray(value, dtype) for name, value, dtype in [("a", [[1, 2], [3, 4]], "f4"), ("k", [5, 6], "i4")]}


def decode(document: Any, graph: Signature = FLOATS) -> predict.PredictRequest:
    return predict.decode(json.dumps(document).encode(), graph, "m", "1")


def answered(request: predict.PredictRequest, **outputs: np.ndarray) -> Any:
    return json.loads(predict.encode(request, outputs))


@given(tensors())
@settings(max_examples=100)
def test_round_trip(case: tuple[Datatype, np.ndarray]) -> None:
    datatype, array = case
    graph = signature_of_array(datatype, array)
    request = decode({"instances": [0]}, signature(x="FP32[-1]"))
    rows = answered(request, x=array)["predictions"]
    for sent in (
        {"instances": rows},
        {"inputs": rows},
        {"inputs": {"x": rows}},
        {"instances": [{"x": r} for r in rows]},
    ):
        assert same(decode(sent, graph).rows["x"], array)


def test_rows_of_values_are_answered_in_rows() -> None:
    request = decode({"signature_name": "any", "instances": [[1, 2], [3, 4]], "parameters": {"more": None}})
    assert request.rows["x"].tolist() == [[1, 2], [3, 4]]
    assert answered(request, y=ROWS["a"]) == {"predictions": [[1, 2], [3, 4]]}
    assert answered(request, **ROWS) == {"predictions": [{"a": [1, 2], "k": 5}, {"a": [3, 4], "k": 6}]}


def test_columns_are_answered_in_columns() -> None:
    request = decode({"inputs": {"a": [[1, 2], [3, 4]], "k": [5, 6]}}, PAIR)
    assert {name: array.tolist() for name, array in request.rows.items()} == {"a": [[1, 2], [3, 4]], "k": [5, 6]}
    assert answered(request, y=ROWS["k"]) == {"outputs": [5, 6]}
    assert answered(request, **ROWS) == {"outputs": {"a": [[1, 2], [3, 4]], "k": [5, 6]}}


def test_rows_of_objects_name_their_inputs() -> None:
    request = decode({"instances": [{"a": [1, 2], "k": 5}, {"k": 6, "a": [3, 4]}]}, PAIR)
    assert {name: array.tolist() for name, array in request.rows.items()} == {"a": [[1, 2], [3, 4]], "k": [5, 6]}


def test_bytes_are_text_or_base64() -> None:
    raw = {"b64": base64.b64encode(b"\xff").decode()}
    for sent in (["é", raw], [{"image": "é"}, {"image": raw}]):
        assert decode({"instances": sent}, IMAGE).rows["image"].tolist() == ["é".encode(), b"\xff"]
    request = decode({"instances": [raw, raw]}, IMAGE)
    assert request.rows["image"].tolist() == [b"\xff", b"\xff"]
    assert answered(request, y=request.rows["image"]) == {"predictions": [raw, raw]}
    assert decode({"instances": [{"b64": 1}]}, signature(b64="INT32[-1]")).rows["b64"].tolist() == [1]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the body is JSON, but not an object with `instances` or `inputs`"),
        ({}, "send one of `instances` (a list of rows) and `inputs`"),
        ({"instances": [1], "inputs": [1]}, "send one of `instances`"),
        ({"instances": 1}, "`instances` must be a list of rows, not 1"),
        ({"instances": []}, "`instances` is an empty list: zero rows; send at least one row"),
        ({"instances": [1]}, "a row of `instances` has no names, but the graph takes 2 inputs; send an object of a, k"),
        ({"inputs": [1]}, "`inputs` has no names, but the graph takes 2 inputs"),
        ({"inputs": {}}, "missing input 'a', 'k'"),
        ({"inputs": {"a": [], "k": []}}, "input 'a' is an empty list: zero rows"),
        ({"inputs": {"a": [[1, 2]], "k": 1}}, "input 'k' is 1, expected lists of shape [-1]"),
        ({"inputs": {"a": [[1, 2]], "k": [1, 2]}}, "inputs have different numbers of rows (a 1, k 2)"),
        ({"instances": [{"a": [1, 2], "k": 1}, {"a": [1, 2]}]}, "row 1 of `instances` has ['a'], row 0 has ['a', 'k']"),
        ({"instances": [{"a": [1, 2], "k": 1}, 3]}, "row 1 of `instances` is 3, row 0 has"),
        ({"instances": [{"a": [1, 2], "z": 1}]}, "unknown input 'z'"),
        ({"instances": [{"a": [1, 2, 3], "k": 1}]}, "input 'a' has shape [1, 3], expected [-1, 2]"),
    ],
)
def test_malformed(document: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        decode(document, PAIR)


def test_status_and_metadata() -> None:
    status = predict.status("m", "1")
    assert (status["name"], status["ready"]) == ("m", True)
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    everything = signature(**{datatype.lower(): {"datatype": datatype, "shape": [-1, 2]} for datatype in Datatype})
    metadata = predict.metadata("m", "1", everything)
    assert metadata["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}
    inputs = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert inputs["fp16"]["dtype"] == "DT_HALF"
    assert [dim["size"] for dim in inputs["bytes"]["tensor_shape"]["dim"]] == ["-1", "2"]
    assert len({info["dtype"] for info in inputs.values()}) == len(Datatype)
