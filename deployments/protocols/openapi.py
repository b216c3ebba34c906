"""The OpenAPI 3.1 document of the served graphs, with their real inputs, and the page that shows it."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, prod
from typing import Any

import numpy as np
from fastapi.openapi.docs import get_swagger_ui_html

from configs.tensors import Datatype, Signature, TensorSpec
from deployments.protocols.plain import accepted

Schema = dict[str, Any]

_LARGEST_EXAMPLE = 1024
"""Elements of an example row; a larger row has none, or the page would hold megabytes of zeros."""

_ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
_SERVER = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "extensions": {"type": "array", "items": {"type": "string"}},
    },
}
_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "datatype": {"enum": [datatype.value for datatype in Datatype]},
        "shape": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["name", "datatype", "shape"],
}
_MODEL = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "versions": {"type": "array", "items": {"type": "string"}},
        "platform": {"type": "string"},
        "inputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
        "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/Tensor"}},
    },
}


def openapi_document(graphs: Sequence[tuple[str, str, Signature]], server_version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document for graphs given as (name, description, known signature).

    Per graph: `POST /{graph}` in plain JSON (for BYTES inputs also files) and the Open Inference Protocol's infer,
    metadata and readiness; for the server: health and metadata. Each request has an example that works, taken from
    `TensorSpec.example` or made of zeros within the declared range, unless a row has more than 1024 elements.
    """
    paths: dict[str, Any] = {
        "/v2": {"get": _get("Server metadata", "Server", "server")},
        "/v2/health/live": {"get": _get("Whether the server is alive", None, "server")},
        "/v2/health/ready": {"get": _get("Whether every graph is ready", None, "server")},
    }
    for name, description, signature in graphs:
        base = f"/v2/models/{name}"
        paths[f"/{name}"] = {"post": _plain(name, description, signature)}
        paths[f"{base}/infer"] = {"post": _infer(name, description, signature)}
        paths[base] = {"get": _get(f"Metadata of {name}", "Model", name)}
        paths[f"{base}/ready"] = {"get": _get(f"Whether {name} is ready", None, name)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millrace", "version": server_version},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Server": _SERVER, "Model": _MODEL, "Tensor": _TENSOR}},
    }


def docs_page(openapi_url: str) -> str:
    """HTML that shows the document at `openapi_url` in Swagger UI; the browser loads its script from a CDN."""
    return bytes(get_swagger_ui_html(openapi_url=openapi_url, title="Millrace").body).decode()


def example_row(spec: TensorSpec) -> Any:
    """One row that the tensor accepts, as nested lists: its declared example, or zeros; None if it is too large."""
    if spec.example is not None:
        return spec.example
    shape = [1 if size == -1 else size for size in spec.shape[1:]]
    if prod(shape) > _LARGEST_EXAMPLE:
        return None
    return np.full(shape, _example_element(spec), dtype=object).tolist()


def _example_element(spec: TensorSpec) -> Any:
    if spec.datatype is Datatype.BYTES:
        return "text"
    if spec.datatype is Datatype.BOOL:
        return False
    low = -np.inf if spec.minimum is None else spec.minimum
    high = np.inf if spec.maximum is None else spec.maximum
    nearest = min(max(0.0, low), high)
    if spec.datatype.dtype.kind in "iu":
        return ceil(nearest) if nearest > 0 else floor(nearest)
    return nearest


def _plain(name: str, description: str, signature: Signature) -> Schema:
    inputs, outputs = signature.inputs or {}, signature.outputs or {}
    content: Schema = {"application/json": {"schema": _rows_or_row(inputs)}}
    examples = {key: example_row(spec) for key, spec in inputs.items()}
    if None not in examples.values():
        content["application/json"]["example"] = {key: [row] for key, row in examples.items()}
    for kind in accepted(inputs)[1:]:
        content[kind] = {"schema": _form(inputs) if kind.startswith("multipart") else _file()}
    return {
        "operationId": f"call_{name}",
        "summary": f"Call {name} in plain JSON",
        "description": description,
        "tags": [name],
        "requestBody": {"required": True, "content": content},
        "responses": _responses({"application/json": {"schema": _rows_or_row(outputs)}}),
    }


def _infer(name: str, description: str, signature: Signature) -> Schema:
    inputs, outputs = signature.inputs or {}, signature.outputs or {}
    content: Schema = {"schema": _v2_schema("inputs", inputs)}
    rows = {key: example_row(spec) for key, spec in inputs.items()}
    if None not in rows.values():
        content["example"] = {"inputs": [_v2_example(key, inputs[key], row) for key, row in rows.items()]}
    return {
        "operationId": f"infer_{name}",
        "summary": f"Call {name} by the Open Inference Protocol v2",
        "description": description,
        "tags": [name],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": _responses({"application/json": {"schema": _v2_schema("outputs", outputs)}}),
    }


def _get(summary: str, schema: str | None, tag: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}} if schema else None
    return {"summary": summary, "tags": [tag], "responses": _responses(content)}


def _responses(content: Schema | None) -> Schema:
    good: Schema = {"description": "OK"}
    if content is not None:
        good["content"] = content
    bad = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"200": good, "default": {"description": "What is wrong, and how to put it right", "content": bad}}


def _rows_or_row(specs: Mapping[str, TensorSpec]) -> Schema:
    rows = {name: _array(spec, spec.shape) for name, spec in specs.items()}
    row = {name: _array(spec, spec.shape[1:]) for name, spec in specs.items()}
    return {"anyOf": [_object("Rows", rows), _object("One row, without the leading dimension", row)]}


def _object(title: str, properties: Schema) -> Schema:
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(spec: TensorSpec, shape: Sequence[int]) -> Schema:
    schema = _element(spec)
    for size in reversed(shape):
        limits = {} if size == -1 else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **limits}
    return {**schema, "description": spec.description or str(spec)}


def _element(spec: TensorSpec) -> Schema:
    if spec.datatype is Datatype.BYTES:
        encoded = {"type": "object", "properties": {"b64": {"type": "string"}}, "required": ["b64"]}
        return {"anyOf": [{"type": "string"}, encoded]}
    if spec.datatype is Datatype.BOOL:
        return {"type": "boolean"}
    schema: Schema = {"type": "number"}
    if spec.datatype.dtype.kind in "iu":
        limits = np.iinfo(spec.datatype.dtype)
        schema = {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    if spec.minimum is not None:
        schema["minimum"] = spec.minimum
    if spec.maximum is not None:
        schema["maximum"] = spec.maximum
    return schema


def _file() -> Schema:
    return {"type": "string", "format": "binary"}


def _form(inputs: Mapping[str, TensorSpec]) -> Schema:
    parts = {
        name: _file() if spec.datatype is Datatype.BYTES else _array(spec, spec.shape[1:])
        for name, spec in inputs.items()
    }
    return {"type": "object", "properties": parts, "required": list(parts)}


def _v2_schema(key: str, specs: Mapping[str, TensorSpec]) -> Schema:
    tensors = [_v2_tensor(name, spec) for name, spec in specs.items()]
    every: Schema = {"type": "array", "items": {"anyOf": tensors}, "maxItems": len(tensors)}
    properties: Schema = {"id": {"type": "string"}, "parameters": {"type": "object"}, key: every}
    return {"type": "object", "properties": properties, "required": [key]}


def _v2_tensor(name: str, spec: TensorSpec) -> Schema:
    return {
        "type": "object",
        "properties": {
            "name": {"const": name},
            "datatype": {"const": spec.datatype.value},
            "shape": {
                "type": "array",
                "items": {"type": "integer"},
                "minItems": len(spec.shape),
                "maxItems": len(spec.shape),
            },
            "data": {"type": "array", "description": f"{spec}, nested or flat in row-major order"},
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _v2_example(name: str, spec: TensorSpec, row: Any) -> Schema:
    shape, inner = [1], row
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0]
    return {"name": name, "datatype": spec.datatype.value, "shape": shape, "data": [row]}
