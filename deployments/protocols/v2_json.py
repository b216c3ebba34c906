"""Open Inference Protocol v2 over HTTP: infer in JSON and with binary tensors, metadata and error documents.

Spec: "Open Inference Protocol, HTTP/REST" (KServe) and its "Binary Tensor Data Extension" (Triton).
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import orjson

from configs.errors import InvalidInput, Unsupported
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from deployments.protocols import classification, model_config, repository
from deployments.protocols.arrays import from_json, parse_tensors, to_json
from deployments.protocols.binary import from_bytes, to_bytes
from deployments.protocols.request import (
    InferRequest,
    Parameter,
    RequestedOutput,
    check_outputs,
    check_tensor,
    check_together,
    flag,
    parameters_of,
    shown,
    spec_of,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
"""HTTP header of the binary extension, both ways: the size of the JSON before the binary tensors."""

EXTENSIONS = (
    "binary_tensor_data",
    classification.EXTENSION,
    "generate",
    model_config.EXTENSION,
    repository.EXTENSION,
    "parameters",
    "schedule_policy",
    "sequence",
    "statistics",
)
"""What the doors support beyond the protocol, for the server's metadata."""

Body = bytes | memoryview

_NOTHING = memoryview(b"")


class _Tail:
    """The binary tensors after the JSON, taken in order."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, name: str, size: object) -> memoryview:
        left = len(self._data) - self._at
        if type(size) is not int or size < 0:
            raise InvalidInput(f"input '{name}': binary_data_size is {shown(size)}, expected a number of bytes")
        if size > left:
            raise InvalidInput(
                f"input '{name}': binary_data_size is {shown(size)}, but {left} bytes are left after the JSON; "
                f"the header {HEADER_LENGTH} must hold the length of the JSON"
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def check_spent(self) -> None:
        left = len(self._data) - self._at
        if left:
            raise InvalidInput(f"{left} bytes after the JSON belong to no input; check each binary_data_size")


def decode_infer(body: Body, header_length: str | None, signature: Signature, model: str, version: str) -> InferRequest:
    """A checked request from the body of `POST /v2/models/{model}[/versions/{version}]/infer`.

    `header_length` is the header Inference-Header-Content-Length, None without it. With 0 the whole body is the
    tensor of the graph's one input, all outputs go back as binary, and the one dimension of any size follows from
    the size of the body; a BYTES tensor is then one element without its length prefix.
    Binary tensors are views of `body`. The caller has undone any content encoding; the signature is known.
    Raises InvalidInput, and Unsupported for shared memory.
    """
    if header_length is None:
        text, tail = body, _NOTHING
    else:
        size = _header_size(header_length, len(body))
        if size == 0:
            return _decode_raw(body, signature, model, version)
        text, tail = body[:size], memoryview(body)[size:]
    return _decode_document(bytes(text), _Tail(tail), signature, model, version)


def encode_infer(
    request: InferRequest, outputs: Rows, model: str, version: str
) -> tuple[bytes | list[bytes | memoryview], int | None]:
    """The body of the answer and, if it carries binary tensors, the length of its JSON.

    `model` and `version` are those that answered. Pure JSON is one `bytes`; otherwise the body is a list, the JSON
    and then each tensor's buffer. JSON has no NaN and no infinity: both become null; binary output keeps them.
    FP32 is written with the fewest digits that read back to the same float32: JSON and binary agree to the bit.
    Raises InvalidInput if BYTES that are not UTF-8 are asked for in JSON.
    """
    if request.classes:
        outputs = classification.classified(outputs, request.classes)
    wanted = request.outputs
    if wanted is None:
        wanted = [RequestedOutput(name, request.binary_output) for name in outputs]
    buffers: list[bytes | memoryview] = []
    described = [_encode_output(name, outputs[name], buffers if as_binary else None) for name, as_binary in wanted]
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id:
        document["id"] = request.id
    header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return ([header, *buffers], len(header)) if buffers else (header, None)


def server_metadata(name: str, version: str, extensions: Sequence[str]) -> dict[str, Any]:
    """The document of `GET /v2`."""
    return {"name": name, "version": version, "extensions": list(extensions)}


def model_metadata(graph: str, versions: Sequence[str], signature: Signature, platform: str) -> dict[str, Any]:
    """The document of `GET /v2/models/{graph}`."""
    inputs, outputs = _described(signature.inputs or {}), _described(signature.outputs or {})
    return {"name": graph, "versions": list(versions), "platform": platform, "inputs": inputs, "outputs": outputs}


def error_body(message: str) -> bytes:
    """The body of every error: `{"error": message}`."""
    return orjson.dumps({"error": message})


def _described(specs: Mapping[str, TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": name, "datatype": spec.datatype.value, "shape": list(spec.shape)} for name, spec in specs.items()]


def _encode_output(name: str, array: np.ndarray, buffers: list[bytes | memoryview] | None) -> dict[str, Any]:
    tensor: dict[str, Any] = {"name": name, "datatype": Datatype.of(array), "shape": array.shape}
    if buffers is None:
        tensor["data"] = to_json(name, array.ravel())
    else:
        buffers.append(to_bytes(array))
        tensor["parameters"] = {"binary_data_size": len(buffers[-1])}
    return tensor


def _header_size(header_length: str, body_size: int) -> int:
    digits = header_length.strip()
    # int() would also take signs, underscores and other scripts' digits.
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise InvalidInput(f"{HEADER_LENGTH} is {shown(header_length)}, expected a number of bytes")
    if int(digits) > body_size:
        raise InvalidInput(f"{HEADER_LENGTH} is {int(digits)}, but the body has {body_size} bytes")
    return int(digits)


def _decode_document(text: bytes, tail: _Tail, signature: Signature, model: str, version: str) -> InferRequest:
    if not text:
        raise InvalidInput("the body is empty; send a JSON object with `inputs`")
    document = parse_tensors(text, "an object with `inputs`")
    inputs = signature.inputs or {}
    rows: Rows = {}
    for tensor in _list_of(document, "inputs"):
        name: Any = tensor.get("name")
        spec = spec_of(name, inputs)
        if name in rows:
            raise InvalidInput(f"input '{name}' is given twice")
        rows[name] = _decode_tensor(name, tensor, spec, tail, text)
    tail.check_spent()
    check_together(rows, inputs)
    parameters = parameters_of(document.get("parameters"))
    binary_output = flag(parameters, "binary_data_output")
    outputs, classes = _outputs(document, binary_output, signature)
    identifier = document.get("id", "")
    if type(identifier) is not str:
        raise InvalidInput(f"id is {shown(identifier)}, expected a string")
    return InferRequest(model, version, identifier, rows, parameters, outputs, binary_output, classes=classes)


def _list_of(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = document.get(key)
    if items is None:
        raise InvalidInput(f"the body has no `{key}`; it must be a list of tensors")
    if type(items) is not list:
        raise InvalidInput(f"`{key}` must be a list of tensors, got {shown(items)}")
    for item in items:
        if type(item) is not dict:
            raise InvalidInput(f"`{key}` must be a list of objects, found {shown(item)} in it")
    return items


def _decode_tensor(name: str, tensor: dict[str, Any], spec: TensorSpec, tail: _Tail, text: bytes) -> np.ndarray:
    shape = tensor.get("shape")
    if type(shape) is not list:
        raise InvalidInput(f"input '{name}': shape is {shown(shape)}, expected a list like {list(spec.shape)}")
    for size in shape:
        if type(size) is not int or size < 0:
            raise InvalidInput(f"input '{name}': shape {shown(shape)} holds {shown(size)}, expected sizes from 0 up")
    check_tensor(name, tensor.get("datatype"), shape, spec)
    if tensor.get("parameters") is not None:
        parameters = parameters_of(tensor["parameters"])
        _refuse_shared_memory(name, parameters)
        if "binary_data_size" in parameters:
            if "data" in tensor:
                raise InvalidInput(f"input '{name}' has both `data` and `binary_data_size`; send one of them")
            return from_bytes(name, tail.take(name, parameters["binary_data_size"]), spec.datatype, shape)
    if "data" not in tensor:
        raise InvalidInput(f"input '{name}' has neither `data` nor the parameter `binary_data_size`")
    return from_json(name, tensor["data"], spec.datatype, shape, text)


def _refuse_shared_memory(name: str, parameters: dict[str, Parameter]) -> None:
    if "shared_memory_region" in parameters:
        raise Unsupported(f"tensor {shown(name)} is in shared memory, which is not supported; send its data instead")


def _outputs(
    document: dict[str, Any], binary_output: bool, signature: Signature
) -> tuple[list[RequestedOutput] | None, dict[str, int]]:
    """The requested outputs, and how many classes are asked for of those that are to be classified."""
    if document.get("outputs") is None:
        return None, {}
    requested, asked = [], {}
    for output in _list_of(document, "outputs"):
        parameters = parameters_of(output.get("parameters"))
        name = output.get("name")
        if type(name) is not str:
            raise InvalidInput(f"a requested output has the name {shown(name)}, expected a string")
        _refuse_shared_memory(name, parameters)
        if classification.EXTENSION in parameters:
            asked[name] = parameters[classification.EXTENSION]
        requested.append(RequestedOutput(name, flag(parameters, "binary_data", binary_output)))
    known = signature.outputs or {}
    check_outputs(requested, known)
    counts = {name: classification.class_count(name, value, known[name]) for name, value in asked.items()}
    return requested or None, {name: count for name, count in counts.items() if count}


def _decode_raw(body: Body, signature: Signature, model: str, version: str) -> InferRequest:
    inputs = signature.inputs or {}
    if len(inputs) != 1:
        raise InvalidInput(
            f"{HEADER_LENGTH} is 0, so the body is one tensor, but the graph takes {len(inputs)}: {', '.join(inputs)}"
        )
    if not body:
        raise InvalidInput("the body is empty; send the bytes of one tensor")
    ((name, spec),) = inputs.items()
    shape = _raw_shape(name, spec, len(body))
    if spec.datatype is Datatype.BYTES:
        array = np.array([bytes(body)], dtype=object).reshape(shape)
    else:
        array = from_bytes(name, body, spec.datatype, shape)
    check_tensor(name, spec.datatype, shape, spec)
    rows = {name: array}
    check_together(rows, inputs)
    return InferRequest(model, version, "", rows, {}, None, True)


def _raw_shape(name: str, spec: TensorSpec, size: int) -> list[int]:
    if spec.datatype is Datatype.BYTES:
        return [1] * len(spec.shape)
    free = [axis for axis, length in enumerate(spec.shape) if length == -1]
    # The first dimension is the rows: it takes what is left, unless another one must.
    if len(free) == 2:
        free.remove(0)
    if len(free) != 1:
        raise InvalidInput(f"the shape of input '{name}' ({spec}) does not follow from the body; send a JSON header")
    shape = [1 if length == -1 else length for length in spec.shape]
    shape[free[0]] = max(size // (prod(shape) * spec.datatype.dtype.itemsize), 1)
    return shape
