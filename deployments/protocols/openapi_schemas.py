"""JSON schemas of tensors in each form that the HTTP door reads, and example rows."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, prod
from typing import Any

import numpy as np

from configs.tensors import Datatype, TensorSpec

Schema = dict[str, Any]

_LARGEST_EXAMPLE = 1024
"""Elements of an example row; a larger row has none, or the page would hold megabytes of zeros."""


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


def rows_or_row(specs: Mapping[str, TensorSpec]) -> Schema:
    """Plain JSON: inputs or outputs with their leading dimension, or one row of each without it."""
    rows = {name: array(spec, spec.shape) for name, spec in specs.items()}
    row = {name: array(spec, spec.shape[1:]) for name, spec in specs.items()}
    return {"anyOf": [_named("Rows", rows), _named("One row, without the leading dimension", row)]}


def _named(title: str, properties: Schema) -> Schema:
    return {
        "title": title,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def array(spec: TensorSpec, shape: Sequence[int]) -> Schema:
    """Nested lists of that shape."""
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


def instances(inputs: Mapping[str, TensorSpec]) -> Schema:
    """`:predict`'s rows, or its columns; a graph's one input needs no name."""
    rows = {name: array(spec, spec.shape[1:]) for name, spec in inputs.items()}
    columns = {name: array(spec, spec.shape) for name, spec in inputs.items()}
    row, column = _named("Row", rows), _named("Columns", columns)
    if len(inputs) == 1:
        row, column = {"anyOf": [*rows.values(), row]}, {"anyOf": [*columns.values(), column]}
    listed = {"type": "array", "items": row, "minItems": 1}
    return {"oneOf": [_having("instances", listed), _having("inputs", column)]}


def one_row(inputs: Mapping[str, TensorSpec]) -> Schema:
    """Generate's object: one row of each input; everything else is a parameter."""
    rows = {name: array(spec, spec.shape[1:]) for name, spec in inputs.items()}
    others = {"type": ["string", "number", "boolean"]}
    return {**_named("One row, and parameters", rows), "additionalProperties": others}


def _having(key: str, schema: Schema) -> Schema:
    return {"type": "object", "properties": {key: schema}, "required": [key]}


def file() -> Schema:
    """The bytes of a file."""
    return {"type": "string", "format": "binary"}


def form(inputs: Mapping[str, TensorSpec]) -> Schema:
    """A form with one part an input."""
    parts = {
        name: file() if spec.datatype is Datatype.BYTES else array(spec, spec.shape[1:])
        for name, spec in inputs.items()
    }
    return {"type": "object", "properties": parts, "required": list(parts)}


def v2_schema(key: str, specs: Mapping[str, TensorSpec]) -> Schema:
    """The Open Inference Protocol's list of tensors below `inputs` or `outputs`."""
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


def v2_example(name: str, spec: TensorSpec, row: Any) -> Schema:
    """One row as a tensor of the Open Inference Protocol."""
    shape, inner = [1], row
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0]
    return {"name": name, "datatype": spec.datatype.value, "shape": shape, "data": [row]}
