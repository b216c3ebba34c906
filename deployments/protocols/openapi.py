"""The OpenAPI 3.1 document of the served graphs, with their real inputs, and the page that shows it."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi.openapi.docs import get_swagger_ui_html

from configs.tensors import Datatype, Signature
from deployments.protocols.openapi_admin import SECURITY, admin_paths, admin_schemas
from deployments.protocols.openapi_schemas import (
    Schema,
    example_row,
    file,
    form,
    instances,
    one_row,
    rows_or_row,
    v2_example,
    v2_schema,
)
from deployments.protocols.plain import accepted

_OURS = "millrace."
"""Before the names of our schemas: those of the user's routes are names of classes, without a dot."""


OF_A_MODEL = ".{model}"
"""Ends the name of a graph of many models, where a path names one of them."""


def _ref(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{_OURS}{schema}"}


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
        "inputs": {"type": "array", "items": _ref("Tensor")},
        "outputs": {"type": "array", "items": _ref("Tensor")},
    },
}


_STATISTICS = {
    "type": "object",
    "properties": {"model_stats": {"type": "array", "items": {"type": "object"}}},
    "required": ["model_stats"],
}
_SCHEMAS = {
    f"{_OURS}{name}": schema
    for name, schema in {
        "Error": _ERROR,
        "Server": _SERVER,
        "Model": _MODEL,
        "Tensor": _TENSOR,
        "Statistics": _STATISTICS,
        **admin_schemas(),
    }.items()
}


def openapi_document(
    graphs: Sequence[tuple[str, str, Signature]],
    server_version: str,
    custom: Mapping[str, Any] = MappingProxyType({}),
    servables: Collection[str] = (),
) -> dict[str, Any]:
    """The OpenAPI 3.1 document for graphs given as (name, description, known signature).

    Per graph: `POST /{graph}` in plain JSON (for BYTES inputs also files), the Open Inference Protocol with Triton's
    generate, `:predict`, and what each says of the graph; for the server: health, metadata, statistics. Each request
    has an example that works, taken from `TensorSpec.example` or made of zeros within the declared range, unless a
    row has more than 1024 elements. `custom` is the document of the user's own routes; `servables` are those that the
    admin API steers. A name that ends with `OF_A_MODEL` is of a graph of many models, for one of them.
    """
    paths: dict[str, Any] = {
        "/v2": {"get": _get("Server metadata", "Server", "server")},
        "/v2/health/live": {"get": _get("Whether the server is alive", None, "server")},
        "/v2/health/ready": {"get": _get("Whether every graph is ready", None, "server")},
        "/v2/models": {"get": _get("The graphs", None, "server")},
        "/v2/models/stats": {"get": _get("Statistics of every graph", "Statistics", "server")},
        "/v2/repository/index": {"post": _get("The graphs with their versions and states", None, "server")},
        "/v1/models": {"get": _get("The graphs", None, "server")},
    }
    for name, description, signature in graphs:
        paths |= _told_of_the_model(_graph_paths(name, description, signature))
    if servables:
        paths |= admin_paths(servables, _wrong("What is wrong, and how to put it right"), _ref)
    components = custom.get("components", {})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millrace", "version": server_version},
        "paths": paths | custom.get("paths", {}),
        "components": {
            **components,
            "schemas": components.get("schemas", {}) | _SCHEMAS,
            "securitySchemes": components.get("securitySchemes", {}) | SECURITY,
        },
    }


def docs_page(openapi_url: str) -> str:
    """HTML that shows the document at `openapi_url` in Swagger UI; the browser loads its script from a CDN."""
    return bytes(get_swagger_ui_html(openapi_url=openapi_url, title="Millrace").body).decode()


def _graph_paths(name: str, description: str, signature: Signature) -> dict[str, Any]:
    inputs, outputs = signature.inputs or {}, signature.outputs or {}
    v2, v1 = f"/v2/models/{name}", f"/v1/models/{name}"
    rows = {key: example_row(spec) for key, spec in inputs.items()}
    known = None not in rows.values()
    first = {key: [row] for key, row in rows.items()} if known else None
    tensors = {"inputs": [v2_example(key, inputs[key], row) for key, row in rows.items()]} if known else None
    call = _json(rows_or_row(inputs), first)
    for kind in accepted(inputs)[1:]:
        call[kind] = {"schema": form(inputs) if kind.startswith("multipart") else file()}
    one = _json(one_row(inputs), rows if known else None)
    # Without a type: some readers take the schema for that of the whole stream, others for that of each event.
    event = {"text/event-stream": {"schema": {"description": "Events `data: {…}`, each with one answer as JSON."}}}

    def post(operation: str, summary: str, request: Schema, answer: Schema) -> dict[str, Schema]:
        identifier = f"{operation}_{name.replace(OF_A_MODEL, '_of_a_model')}"
        return {"post": _post(identifier, f"{summary.format(name)}", description, name, request, answer)}

    return {
        f"/{name}": post("call", "Call {} in plain JSON", call, _json(rows_or_row(outputs))),
        f"{v2}/infer": post(
            "infer",
            "Call {} by the Open Inference Protocol v2",
            _json(v2_schema("inputs", inputs), tensors),
            _json(v2_schema("outputs", outputs)),
        ),
        f"{v2}/generate": post("generate", "Call {} with one row", one, _json({"type": "object"})),
        f"{v2}/generate_stream": post("generate_stream", "Call {} with one row, for a stream of answers", one, event),
        f"{v1}:predict": post(
            "predict",
            "Call {} as TensorFlow Serving and KServe v1 do",
            _json(instances(inputs), {"inputs": first} if known else None),
            _json({"type": "object"}),
        ),
        v2: {"get": _get(f"Metadata of {name}", "Model", name)},
        f"{v2}/ready": {"get": _get(f"Whether {name} is ready", None, name)},
        f"{v2}/config": {"get": _get(f"{name} in the words of Triton's model configuration", None, name)},
        f"{v2}/stats": {"get": _get(f"Statistics of {name}", "Statistics", name)},
        v1: {"get": _get(f"Status of {name}", None, name)},
        f"{v1}/metadata": {"get": _get(f"Metadata of {name} as TensorFlow Serving gives them", None, name)},
    }


def _told_of_the_model(paths: dict[str, Any]) -> dict[str, Any]:
    """The paths with a parameter for the model, if they are those of a graph of many."""
    model = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    return {path: {**item, "parameters": [model]} if OF_A_MODEL in path else item for path, item in paths.items()}


def _json(schema: Schema, example: Any = None) -> Schema:
    return {"application/json": {"schema": schema} if example is None else {"schema": schema, "example": example}}


def _post(operation: str, summary: str, description: str, tag: str, request: Schema, answer: Schema) -> Schema:
    return {
        "operationId": operation,
        "summary": summary,
        "description": description,
        "tags": [tag],
        "requestBody": {"required": True, "content": request},
        "responses": _responses(answer),
    }


def _get(summary: str, schema: str | None, tag: str) -> Schema:
    content = {"application/json": {"schema": _ref(schema)}} if schema else None
    return {"summary": summary, "tags": [tag], "responses": _responses(content)}


def _responses(content: Schema | None) -> Schema:
    good: Schema = {"description": "OK"}
    if content is not None:
        good["content"] = content
    return {"200": good, "default": _wrong("What is wrong, and how to put it right")}


def _wrong(description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": _ref("Error")}}}
