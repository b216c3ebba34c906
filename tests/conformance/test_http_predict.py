"""TensorFlow Serving's REST form, which KServe's v1 protocol took over."""

import json
from typing import Any

import httpx
import pytest
from rest import DIFFERENCE, SUM, A, B, Rest

pytestmark = [pytest.mark.needs("predict"), pytest.mark.model("simple")]

MODEL = "/v1/models/simple"


def predict(rest: Rest, document: Any, path: str = MODEL) -> httpx.Response:
    return rest.post(f"{path}:predict", json.dumps(document))


def test_row_format(rest: Rest) -> None:
    """TensorFlow Serving RESTful API, "Specifying input tensors in row format": `instances` → `predictions`."""
    row = {"INPUT0": A, "INPUT1": B}
    response = predict(rest, {"instances": [row, {"INPUT0": B, "INPUT1": B}]})
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] == [
        {"OUTPUT0": SUM, "OUTPUT1": DIFFERENCE},
        {"OUTPUT0": [2] * 16, "OUTPUT1": [0] * 16},
    ]


def test_column_format(rest: Rest) -> None:
    """TensorFlow Serving RESTful API, "Specifying input tensors in column format": `inputs` → `outputs`."""
    response = predict(rest, {"inputs": {"INPUT0": [A], "INPUT1": [B]}})
    assert response.status_code == 200, response.text
    assert response.json()["outputs"] == {"OUTPUT0": [SUM], "OUTPUT1": [DIFFERENCE]}


@pytest.mark.model("simple_identity")
def test_one_tensor_needs_no_name(rest: Rest) -> None:
    """TensorFlow Serving RESTful API: with one named input its value alone is the instance, likewise the output."""
    response = predict(rest, {"instances": [["a", "b"], ["c", "d"]]}, "/v1/models/simple_identity")
    assert response.status_code == 200, response.text
    assert response.json() == {"predictions": [["a", "b"], ["c", "d"]]}


@pytest.mark.model("identity_bytes")
def test_binary_values(rest: Rest) -> None:
    """TensorFlow Serving RESTful API, "Encoding binary values": `{"b64": …}` goes in."""
    response = predict(rest, {"instances": [[{"b64": "aGVsbG8="}]]}, "/v1/models/identity_bytes")
    assert response.status_code == 200, response.text
    assert response.json()["predictions"] in ([["hello"]], [[{"b64": "aGVsbG8="}]])


def test_a_version(rest: Rest) -> None:
    """TensorFlow Serving RESTful API, "Predict API": `/versions/${MODEL_VERSION}`."""
    version = rest.get(MODEL).json()["model_version_status"][0]["version"]
    response = predict(rest, {"instances": [{"INPUT0": A, "INPUT1": B}]}, f"{MODEL}/versions/{version}")
    assert response.json()["predictions"][0]["OUTPUT0"] == SUM


def test_status(rest: Rest) -> None:
    """TensorFlow Serving RESTful API, "Model status API"."""
    [status] = rest.get(MODEL).json()["model_version_status"]
    assert status["state"] == "AVAILABLE"
    assert isinstance(status["version"], str)
    assert status["status"]["error_code"] == "OK"


def test_metadata(rest: Rest) -> None:
    """TensorFlow Serving RESTful API, "Model Metadata API": the signature's inputs and outputs."""
    document = rest.get(f"{MODEL}/metadata").json()
    assert document["model_spec"]["name"] == "simple"
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert set(signature["inputs"]) == {"INPUT0", "INPUT1"}
    assert set(signature["outputs"]) == {"OUTPUT0", "OUTPUT1"}
    assert signature["inputs"]["INPUT0"]["dtype"] == "DT_INT32"


@pytest.mark.parametrize(
    "document",
    [{}, {"instances": []}, {"instances": 7}, {"instances": [{"INPUT0": A}]}, {"inputs": [], "instances": []}, []],
)
def test_wrong_requests(rest: Rest, document: Any) -> None:
    """TensorFlow Serving RESTful API, "Response format": `{"error": message}`."""
    response = predict(rest, document)
    assert 400 <= response.status_code < 500
    assert response.json()["error"]


def test_unknown_model(rest: Rest) -> None:
    """TensorFlow Serving RESTful API, "Response format"."""
    response = predict(rest, {"instances": [[1]]}, "/v1/models/no_such_model")
    assert response.status_code == 404
    assert response.json()["error"]
