"""Inference over HTTP in JSON."""

from typing import Any

import pytest
from rest import DIFFERENCE, SUM, A, B, Rest, output, refused, simple, tensor, values
from wire import EACH, NOT_IN_JSON, SAMPLES, as_json, same


def outputs_of(document: dict[str, Any]) -> list[str]:
    return [item["name"] for item in document["outputs"]]


@pytest.mark.model("simple")
def test_all_outputs(rest: Rest) -> None:
    """OIP REST, "Inference Request JSON Object": without `outputs`, all outputs are returned."""
    document = rest.answer("simple", simple())
    assert document["model_name"] == "simple"
    assert isinstance(document.get("model_version", ""), str)
    assert sorted(outputs_of(document)) == ["OUTPUT0", "OUTPUT1"]
    assert values(document, "OUTPUT0") == SUM
    assert values(document, "OUTPUT1") == DIFFERENCE
    for name in ("OUTPUT0", "OUTPUT1"):
        assert output(document, name)["datatype"] == "INT32"
        assert output(document, name)["shape"] == [1, 16]


@pytest.mark.model("simple")
def test_requested_outputs(rest: Rest) -> None:
    """OIP REST, "Request Output": only the requested outputs are returned."""
    document = rest.answer("simple", simple(outputs=[{"name": "OUTPUT1"}]))
    assert outputs_of(document) == ["OUTPUT1"]
    assert values(document, "OUTPUT1") == DIFFERENCE


@pytest.mark.model("simple")
@pytest.mark.parametrize("identifier", ["42", "a b/ü", "x" * 200])
def test_id_comes_back(rest: Rest, identifier: str) -> None:
    """OIP REST, "Inference Request JSON Object": `id`, "if specified … must be returned in the response"."""
    assert rest.answer("simple", simple(id=identifier))["id"] == identifier


@pytest.mark.model("simple")
def test_nested_data(rest: Rest) -> None:
    """OIP REST, "Tensor Data": elements in their natural multi-dimensional representation."""
    inputs = [tensor("INPUT0", "INT32", [1, 16], [A]), tensor("INPUT1", "INT32", [1, 16], [B])]
    assert values(rest.answer("simple", {"inputs": inputs}), "OUTPUT0") == SUM


@pytest.mark.model("simple")
def test_order_of_inputs_is_free(rest: Rest) -> None:
    """OIP REST, "Request Input": inputs go by name."""
    document = simple()
    document["inputs"].reverse()
    assert values(rest.answer("simple", document), "OUTPUT1") == DIFFERENCE


@pytest.mark.model("simple")
def test_several_rows(rest: Rest) -> None:
    """OIP REST, "Request Input": batched, "the shape and data must represent the full shape … of the entire batch"."""
    inputs = [tensor("INPUT0", "INT32", [3, 16], A * 3), tensor("INPUT1", "INT32", [3, 16], [*B, *B, *A])]
    document = rest.answer("simple", {"inputs": inputs})
    assert output(document, "OUTPUT1")["shape"] == [3, 16]
    assert values(document, "OUTPUT1") == [*DIFFERENCE, *DIFFERENCE, *[0] * 16]


@pytest.mark.model("simple")
def test_a_version_by_name(rest: Rest) -> None:
    """OIP REST, "Inference": `/versions/<model_version>` of a version that metadata lists."""
    versions = rest.get("/v2/models/simple").json().get("versions", [])
    if not versions:
        pytest.skip("the server has no versions")
    document = rest.answer("simple", simple(), versions[-1])
    assert document["model_version"] == versions[-1]
    assert values(document, "OUTPUT0") == SUM


@pytest.mark.model("simple")
@pytest.mark.needs("parameters")
def test_unknown_parameters_are_passed_over(rest: Rest) -> None:
    """OIP REST, "Parameters"; Triton, "Parameters Extension": values are strings, numbers or booleans."""
    parameters = {"my_text": "a", "my_number": 1, "my_float": 0.5, "my_flag": True}
    assert values(rest.answer("simple", simple(parameters=parameters)), "OUTPUT0") == SUM


@pytest.mark.model("simple")
@pytest.mark.needs("schedule")
def test_priority_and_timeout_are_accepted(rest: Rest) -> None:
    """Triton, "Schedule Policy Extension": `priority` and `timeout` (microseconds) of a request."""
    parameters = {"priority": 1, "timeout": 10_000_000}
    assert values(rest.answer("simple", simple(parameters=parameters)), "OUTPUT0") == SUM


@pytest.mark.parametrize("datatype", EACH)
def test_each_datatype(rest: Rest, datatype: str) -> None:
    """OIP REST, "Tensor Data Types": each datatype there and back, with its smallest and largest values."""
    sent = as_json(datatype, SAMPLES[datatype])
    model = f"identity_{datatype.lower()}"
    response = rest.infer(model, {"inputs": [tensor("INPUT0", datatype, [2, 2], SAMPLES[datatype])]})
    if datatype in NOT_IN_JSON and response.status_code != 200:
        refused(response)  # "problematic to communicate explicitly", OIP REST, "Tensor Data"
        return
    assert response.status_code == 200, response.text
    found = output(response.json(), "OUTPUT0")
    assert (found["datatype"], found["shape"]) == (datatype, [2, 2])
    assert same(datatype, values(response.json(), "OUTPUT0"), sent)


@pytest.mark.model("simple_string")
def test_strings(rest: Rest) -> None:
    """OIP REST, "Tensor Data": BYTES are JSON strings."""
    inputs = [
        tensor("INPUT0", "BYTES", [1, 16], [str(value).encode() for value in A]),
        tensor("INPUT1", "BYTES", [1, 16], [str(value).encode() for value in B]),
    ]
    document = rest.answer("simple_string", {"inputs": inputs})
    assert output(document, "OUTPUT0")["datatype"] == "BYTES"
    assert [int(text) for text in values(document, "OUTPUT0")] == SUM
    assert [int(text) for text in values(document, "OUTPUT1")] == DIFFERENCE


@pytest.mark.model("simple_identity")
@pytest.mark.parametrize("length", [1, 100, 10_000])
def test_any_length(rest: Rest, length: int) -> None:
    """OIP REST, "Model Metadata": "Variable-size dimensions are specified as -1"."""
    sent = [f"{index}" * (index % 3) for index in range(length)]
    document = {"inputs": [{"name": "INPUT0", "datatype": "BYTES", "shape": [1, length], "data": sent}]}
    assert values(rest.answer("simple_identity", document), "OUTPUT0") == sent
