"""Plain JSON for people: `{"image": [...]}` in, named outputs back; files as multipart or as the raw body."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from configs.errors import InvalidInput, UnsupportedMediaType
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from deployments.protocols.arrays import from_json, parse_json, parse_object
from deployments.protocols.binary import bytes_elements
from deployments.protocols.multipart import parse_parts
from deployments.protocols.request import InferRequest, check_tensor, check_together, shown, spec_of

_MAX_RANK = 64

_JSON = ("", "application/json", "application/x-www-form-urlencoded")
"""Content types that mean JSON; the last is what `curl -d` sends when it is told nothing else."""


def decode(body: bytes, content_type: str, signature: Signature) -> InferRequest:
    """A checked request from the body of `POST /{graph}`; its model is empty, the path names it.

    `application/json` (also no content type, or that of `curl -d`): an object of input name → nested lists; BYTES
    elements are strings or `{"b64": "…"}`. A value with one dimension less than declared is one row without the
    leading dimension; then every input must be so, and the answer comes back without it too (`InferRequest.single`).
    `multipart/form-data`: each part is named after an input; for BYTES it is one row's bytes (several parts of a
    name are several rows), for others it is JSON.
    `application/octet-stream` and `image/*`: the body is one row of a graph whose only input is BYTES.
    Raises InvalidInput, and UnsupportedMediaType with the list of types this graph reads.
    """
    inputs = signature.inputs or {}
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _JSON and not _reads(kind, inputs):
        raise UnsupportedMediaType(f"content type {shown(kind)} is not read here; send {' or '.join(accepted(inputs))}")
    if not body:
        raise InvalidInput(f"the body is empty; send {' or '.join(accepted(inputs))}")
    if kind in _JSON:
        values, text = parse_object(body, 'an object of inputs like {"name": [...]}'), body
    elif kind == "multipart/form-data":
        values, text = _form_values(body, content_type, inputs), body
    else:
        values, text = {name: _nested(body, len(spec.shape) - 1) for name, spec in inputs.items()}, b""
    rows, single = _rows(values, text, inputs)
    return InferRequest("", "", "", rows, {}, None, False, single)


def encode(request: InferRequest, outputs: Rows) -> bytes:
    """Named outputs as nested lists; without the leading dimension if the request came without it.

    BYTES are strings, or `{"b64": "…"}` where they are not UTF-8. NaN and infinity, which JSON has not, are null.
    """
    document = {name: _plain(array, request.single) for name, array in outputs.items()}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def accepted(inputs: Mapping[str, TensorSpec]) -> list[str]:
    """The content types that `decode` reads for a graph with these inputs."""
    binary = [spec.datatype is Datatype.BYTES for spec in inputs.values()]
    accepted = ["application/json"]
    if any(binary):
        accepted.append("multipart/form-data")
    if binary == [True]:
        accepted += ["application/octet-stream", "image/*"]
    return accepted


def _reads(kind: str, inputs: Mapping[str, TensorSpec]) -> bool:
    return ("image/*" if kind.startswith("image/") else kind) in accepted(inputs)


def _form_values(body: bytes, content_type: str, inputs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, content in parse_parts(body, content_type):
        spec = spec_of(name, inputs)
        if spec.datatype is Datatype.BYTES:
            values.setdefault(name, []).append(_nested(content, len(spec.shape) - 1))
        elif name in values:
            raise InvalidInput(f"input '{name}' is given twice")
        else:
            values[name] = parse_json(content, f"the part for input '{name}'")
    # One part for each file is one row; the JSON parts then leave out the leading dimension too.
    files = [name for name in values if inputs[name].datatype is Datatype.BYTES]
    if all(len(values[name]) == 1 for name in files):
        values.update((name, values[name][0]) for name in files)
    return values


def _nested(value: Any, depth: int) -> Any:
    return value if depth == 0 else [_nested(value, depth - 1)]


def _rows(values: dict[str, Any], text: bytes, inputs: Mapping[str, TensorSpec]) -> tuple[Rows, bool]:
    rows: Rows = {}
    singles: list[str] = []
    for name, value in values.items():
        spec = spec_of(name, inputs)
        shape = _shape(value)
        if len(shape) == len(spec.shape) - 1:
            singles.append(name)
            value, shape = [value], [1, *shape]
        check_tensor(name, spec.datatype, shape, spec)
        rows[name] = from_json(name, value, spec.datatype, shape, text, _element)
    if singles and len(singles) != len(rows):
        raise InvalidInput(
            f"{', '.join(map(repr, singles))} came as one row without the leading dimension, the other inputs with it; "
            "write all inputs the same way"
        )
    check_together(rows, inputs)
    return rows, bool(singles)


def _shape(value: Any) -> list[int]:
    """Sizes along the first elements; `from_json` checks that the others agree."""
    shape: list[int] = []
    while type(value) is list and len(shape) < _MAX_RANK:
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _element(item: Any) -> bytes:
    """One BYTES element: a string, `{"b64": "…"}`, or the bytes of a file."""
    if type(item) is str:
        return item.encode()
    if type(item) is bytes:
        return item
    if type(item) is dict and list(item) == ["b64"] and type(item["b64"]) is str:
        try:
            return base64.b64decode(item["b64"], validate=True)
        except ValueError as error:  # binascii.Error, or characters that are not ASCII
            raise TypeError(f'the value of "b64" is not base64: {error}') from None
    raise TypeError(f'BYTES takes strings or {{"b64": "…"}}, not {shown(item)}')


def _plain(array: np.ndarray, single: bool) -> Any:
    if array.dtype.kind in "OSU":
        texts = np.empty(array.size, dtype=object)
        texts[:] = [_text(item) for item in bytes_elements(array)]
        nested = texts.reshape(array.shape).tolist()
        return nested[0] if single else nested
    if Datatype.of(array) in (Datatype.FP16, Datatype.BF16):
        array = array.astype(np.float32)
    array = np.ascontiguousarray(array)
    return array[0] if single else array


def _text(item: bytes) -> str | dict[str, str]:
    try:
        return item.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(item).decode()}
