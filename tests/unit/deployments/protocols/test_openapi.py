import json
from typing import Any

import jsonschema
import pytest

from configs.tensors import Datatype, Signature
from deployments.protocols import generate, openapi, openapi_schemas, plain, predict, v2_json
from tests.unit.deployments.protocols.samples import signature

GRAPHS: dict[str, Signature] = {
    datatype.lower(): signature(x={"datatype": datatype, "shape": [-1, 2, -1]}) for datatype in Datatype
}
GRAPHS |= {
    "digits": signature(image={"datatype": "UINT8", "shape": [-1, 8, 8], "minimum": 0, "maximum": 16}),
    "ranges": signature(
        low={"datatype": "INT32", "shape": [-1], "minimum": 1.5},
        high={"datatype": "INT32", "shape": [-1], "minimum": -2.5, "maximum": -0.5},
        share={"datatype": "FP16", "shape": [-1], "minimum": 0.25, "maximum": 1},
    ),
    "told": signature(x={"datatype": "FP32", "shape": [-1, -1], "example": [1.5, 2.5, 3.5]}),
    "photo": signature(image="BYTES[-1]"),
}
DOCUMENT = openapi.openapi_document([(name, f"About {name}.", graph) for name, graph in GRAPHS.items()], "1.2")


def operation(path: str, method: str = "post") -> dict[str, Any]:
    return DOCUMENT["paths"][path][method]


@pytest.mark.parametrize("name", GRAPHS)
def test_examples_work_and_fit_their_schema(name: str) -> None:
    base = f"/v2/models/{name}"
    for path in (f"/{name}", f"{base}/infer", f"{base}/generate", f"/v1/models/{name}:predict"):
        content = operation(path)["requestBody"]["content"]["application/json"]
        jsonschema.Draft202012Validator(content["schema"]).validate(content["example"])
        body = json.dumps(content["example"]).encode()
        if path.endswith("/infer"):
            request = v2_json.decode_infer(body, None, GRAPHS[name], name, "")
        elif path.endswith("/generate"):
            request = generate.decode(body, GRAPHS[name], name, "")
        elif path.endswith(":predict"):
            request = predict.decode(body, GRAPHS[name], name, "")
        else:
            request = plain.decode(body, "application/json", GRAPHS[name])
        assert request.row_count == 1
        outputs = content["schema"] if path == f"/{name}" else operation(path)["responses"]["200"]
        assert outputs


def test_the_schema_knows_types_shapes_and_ranges() -> None:
    rows, row = operation("/digits")["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    image = rows["properties"]["image"]
    pixel = image["items"]["items"]["items"]
    assert pixel == {"type": "integer", "minimum": 0, "maximum": 16}
    assert (image["items"]["minItems"], image["items"]["maxItems"], "minItems" in image) == (8, 8, False)
    assert row["properties"]["image"]["items"] == image["items"]["items"]
    assert operation("/digits")["description"] == "About digits."


@pytest.mark.parametrize(
    ("document", "fits"),
    [
        ({"instances": [[[0] * 8] * 8]}, True),
        ({"instances": [{"image": [[0] * 8] * 8}]}, True),
        ({"inputs": {"image": [[[0] * 8] * 8]}}, True),
        ({"inputs": [[[0] * 8] * 8]}, True),
        ({"instances": [[[0] * 8] * 7]}, False),
        ({"instances": []}, False),
        ({}, False),
    ],
)
def test_predict_has_rows_or_columns(document: Any, fits: bool) -> None:
    schema = operation("/v1/models/digits:predict")["requestBody"]["content"]["application/json"]["schema"]
    assert jsonschema.Draft202012Validator(schema).is_valid(document) == fits


def test_bytes_graphs_take_files() -> None:
    content = operation("/photo")["requestBody"]["content"]
    assert list(content) == ["application/json", "multipart/form-data", "application/octet-stream", "image/*"]
    assert content["multipart/form-data"]["schema"]["properties"] == {"image": {"type": "string", "format": "binary"}}
    assert list(operation("/digits")["requestBody"]["content"]) == ["application/json"]


def test_large_rows_have_no_example() -> None:
    large = signature(x="FP32[-1, 3, 224, 224]")
    document = openapi.openapi_document([("large", "", large)], "1")
    assert openapi_schemas.example_row(large.inputs["x"]) is None
    assert len(json.dumps(document)) < 20_000


def test_every_operation_is_named_once_and_refers_to_what_exists() -> None:
    paths = DOCUMENT["paths"]
    assert {"/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/digits", "/v2/models/digits/ready"} <= set(paths)
    names = [call["operationId"] for path in paths.values() for call in path.values() if "operationId" in call]
    assert len(set(names)) == len(names) == 5 * len(GRAPHS)
    text = json.dumps(DOCUMENT)
    for schema in ("Error", "Server", "Model", "Tensor", "Statistics"):
        assert f'"#/components/schemas/millrace.{schema}"' in text
        assert f"millrace.{schema}" in DOCUMENT["components"]["schemas"]
    assert (DOCUMENT["openapi"], DOCUMENT["info"]["version"]) == ("3.1.0", "1.2")


def test_the_page_shows_the_document() -> None:
    page = openapi.docs_page("/openapi.json")
    assert "swagger-ui" in page
    assert "'/openapi.json'" in page
