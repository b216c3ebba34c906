"""Triton's generate: one row as a JSON object of inputs and parameters, its answers as JSON objects of outputs.

Spec: "Generate Extension" (Triton).
"""

from typing import Any

import numpy as np
import orjson

from configs.errors import InvalidInput
from configs.tensors import Rows, Signature, TensorSpec
from deployments.protocols.arrays import parse_object
from deployments.protocols.nested import elements_to_array, row_to_array, shape_of, to_array, to_nested
from deployments.protocols.request import InferRequest, check_together, parameters_of, shown


def decode(body: bytes, signature: Signature, model: str, version: str) -> InferRequest:
    """A checked request of one row from the body of `…/generate` and `…/generate_stream`.

    What is named like an input is that input: a value, a list of the row's elements, or lists nested as the row is.
    `id` is the request's id; everything else, also within `parameters`, is a parameter. Raises InvalidInput.
    """
    document = parse_object(body, "an object of inputs and parameters")
    inputs = signature.inputs or {}
    identifier = "" if "id" in inputs else document.pop("id", "")
    if type(identifier) not in (str, int):
        raise InvalidInput(f"id is {shown(identifier)}, expected a string")
    nested = {} if "parameters" in inputs else parameters_of(document.pop("parameters", None))
    rows = {name: _row(name, value, inputs[name], body) for name, value in document.items() if name in inputs}
    check_together(rows, inputs)
    parameters = parameters_of({**nested, **{name: document[name] for name in document.keys() - inputs.keys()}})
    return InferRequest(model, version, str(identifier), rows, parameters, None, False)


def encode(request: InferRequest, outputs: Rows, model: str, version: str) -> bytes:
    """One answer: a JSON object of outputs, of one row without the leading dimension, of one element without lists."""
    document: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id:
        document["id"] = request.id
    document.update((name, _plain(array)) for name, array in outputs.items())
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def event(data: bytes) -> bytes:
    """A server-sent event with one line of data."""
    return b"data: %s\n\n" % data


def _row(name: str, value: Any, spec: TensorSpec, text: bytes) -> np.ndarray:
    depth = len(shape_of(value))
    if depth == len(spec.shape) == 1:
        return to_array(name, value, spec, text)  # for an input without further dimensions the elements are rows
    if depth == len(spec.shape) - 1:
        return row_to_array(name, value, spec, text)
    if depth > 1:
        raise InvalidInput(f"input '{name}' is nested {depth} deep, expected one row of shape {list(spec.shape[1:])}")
    return elements_to_array(name, value if depth else [value], spec, text)


def _plain(array: np.ndarray) -> Any:
    nested = to_nested(array)
    for _ in range(array.ndim if array.size == 1 else int(len(array) == 1)):
        nested = nested[0]
    return nested
