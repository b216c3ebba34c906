"""Plain JSON for people: `{"image": [...]}` in, named outputs back; files as multipart or as the raw body."""

from collections.abc import Mapping
from typing import Any

import orjson

from configs.errors import InvalidInput, UnsupportedMediaType
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from deployments.protocols.arrays import parse_json, parse_tensors
from deployments.protocols.multipart import parse_parts
from deployments.protocols.nested import either_to_array, to_nested
from deployments.protocols.request import InferRequest, check_together, shown, spec_of

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
        values, text = parse_tensors(body, 'an object of inputs like {"name": [...]}'), body
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
    document = {name: to_nested(array) for name, array in outputs.items()}
    if request.single:
        document = {name: nested[0] for name, nested in document.items()}
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
        rows[name], single = either_to_array(name, value, spec_of(name, inputs), text)
        if single:
            singles.append(name)
    by_row = [name for name in rows if not inputs[name].is_shared] or list(rows)
    singles = [name for name in singles if name in by_row]
    if singles and len(singles) != len(by_row):
        raise InvalidInput(
            f"{', '.join(map(repr, singles))} came as one row without the leading dimension, the other inputs with it; "
            "write all inputs the same way"
        )
    check_together(rows, inputs)
    return rows, bool(singles)
