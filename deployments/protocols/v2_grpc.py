"""Open Inference Protocol v2 over gRPC: ModelInfer to checked rows and back, metadata messages."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from configs.errors import InvalidInput, Unsupported
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from deployments.protocols.binary import from_bytes, to_bytes
from deployments.protocols.classification import class_count, classified
from deployments.protocols.request import (
    InferRequest,
    Parameter,
    RequestedOutput,
    check_outputs,
    check_tensor,
    check_together,
    shown,
    spec_of,
)
from deployments.protocols.v2_proto import (
    ModelConfigResponse,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
    ModelStatisticsResponse,
    RepositoryIndexResponse,
    ServerMetadataResponse,
)

# Where InferTensorContents keeps each datatype; FP16 and BF16 travel as raw bytes only.
_CONTENTS = {
    Datatype.BOOL: "bool_contents",
    Datatype.UINT8: "uint_contents",
    Datatype.UINT16: "uint_contents",
    Datatype.UINT32: "uint_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.INT8: "int_contents",
    Datatype.INT16: "int_contents",
    Datatype.INT32: "int_contents",
    Datatype.INT64: "int64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}


def parse_infer(message: bytes) -> Any:
    """The ModelInferRequest in these bytes. Raises InvalidInput."""
    try:
        return ModelInferRequest.FromString(message)
    except DecodeError as error:
        raise InvalidInput(f"the message is not a ModelInferRequest: {error}") from None


def decode_infer(proto: Any, signature: Signature) -> InferRequest:
    """A checked request from a ModelInferRequest for a graph with this signature.

    Data is either all in `raw_input_contents`, one per input, or all in typed `contents`. Raises InvalidInput, and
    Unsupported for shared memory.
    """
    rows = _rows(proto, signature.inputs or {})
    parameters = _parameters(proto.parameters) if proto.parameters else {}
    request = InferRequest(proto.model_name, proto.model_version, proto.id, rows, parameters, None, True)
    if proto.outputs:
        request.outputs, request.classes = _outputs(proto.outputs, signature.outputs or {})
    return request


def encode_infer(request: InferRequest, outputs: Rows, model: str, version: str, into: Any = None) -> Any:
    """The ModelInferResponse with all data in `raw_output_contents`; `model` and `version` are those that answered.

    `into` is an empty ModelInferResponse to fill, for one inside another message.
    """
    names = outputs if request.outputs is None else [name for name, _ in request.outputs]
    if request.classes:
        outputs = classified(outputs, request.classes)
    response = ModelInferResponse() if into is None else into
    response.model_name, response.model_version, response.id = model, version, request.id
    for name in names:
        array = outputs[name]
        response.outputs.add(name=name, datatype=Datatype.of(array).value, shape=array.shape)
        response.raw_output_contents.append(bytes(to_bytes(array)))
    return response


def server_metadata(name: str, version: str, extensions: Sequence[str]) -> Any:
    """The ServerMetadataResponse."""
    return ServerMetadataResponse(name=name, version=version, extensions=extensions)


def model_metadata(graph: str, versions: Sequence[str], signature: Signature, platform: str) -> Any:
    """The ModelMetadataResponse."""
    response = ModelMetadataResponse(name=graph, versions=versions, platform=platform)
    for specs, tensors in ((signature.inputs, response.inputs), (signature.outputs, response.outputs)):
        for name, spec in (specs or {}).items():
            tensors.add(name=name, datatype=spec.datatype.value, shape=spec.shape)
    return response


def graph_config(document: Mapping[str, Any]) -> Any:
    """The ModelConfigResponse of `model_config.model_config`'s document."""
    return json_format.ParseDict({"config": document}, ModelConfigResponse())


def graph_statistics(document: Mapping[str, Any]) -> Any:
    """The ModelStatisticsResponse of the document of `deployments.statistics`."""
    return json_format.ParseDict(document, ModelStatisticsResponse())


def repository_index(graphs: Sequence[Mapping[str, str]]) -> Any:
    """The RepositoryIndexResponse."""
    return RepositoryIndexResponse(models=graphs)


def _rows(proto: Any, inputs: Mapping[str, TensorSpec]) -> Rows:
    raw = proto.raw_input_contents
    if raw and len(raw) != len(proto.inputs):
        raise InvalidInput(
            f"raw_input_contents has {len(raw)} entries for {len(proto.inputs)} inputs; give one an input, in order"
        )
    rows: Rows = {}
    for index, tensor in enumerate(proto.inputs):
        name, shape = tensor.name, tuple(tensor.shape)
        spec = spec_of(name, inputs)
        if name in rows:
            raise InvalidInput(f"input '{name}' is given twice")
        if shape and min(shape) < 0:
            raise InvalidInput(
                f"input '{name}': shape {shown(list(shape))} holds {min(shape)}, expected sizes from 0 up"
            )
        check_tensor(name, tensor.datatype, shape, spec)
        if tensor.parameters:
            _refuse_shared_memory(name, tensor.parameters)
        if not raw:
            rows[name] = _typed(name, tensor.contents, spec.datatype, shape)
        elif tensor.HasField("contents"):
            raise InvalidInput(f"input '{name}' has contents beside raw_input_contents; send one of them")
        else:
            rows[name] = from_bytes(name, raw[index], spec.datatype, shape)
    check_together(rows, inputs)
    return rows


def _typed(name: str, contents: Any, datatype: Datatype, shape: tuple[int, ...]) -> np.ndarray:
    if datatype not in _CONTENTS:
        raise InvalidInput(f"input '{name}': {datatype} has no typed contents; send it in raw_input_contents")
    field = _CONTENTS[datatype]
    for other, _ in contents.ListFields():
        if other.name != field:
            raise InvalidInput(f"input '{name}': {datatype} belongs into {field}, but {other.name} is set")
    values = getattr(contents, field)
    if len(values) != prod(shape):
        raise InvalidInput(
            f"input '{name}': shape {shown(list(shape))} needs {prod(shape)} elements, {field} has {len(values)}"
        )
    return _as_array(name, list(values), datatype).reshape(shape)


def _as_array(name: str, values: list[Any], datatype: Datatype) -> np.ndarray:
    if datatype.dtype.kind not in "iu":
        return np.array(values, dtype=datatype.dtype)
    # INT8 to UINT16 arrive in 32-bit fields: go through 64 bits to see what does not fit.
    wide = np.array(values, dtype=np.uint64 if datatype is Datatype.UINT64 else np.int64)
    limits = np.iinfo(datatype.dtype)
    outside = (wide < limits.min) | (wide > limits.max)
    if outside.any():
        index = int(outside.argmax())
        raise InvalidInput(
            f"input '{name}': element {index} is {wide[index]}; {datatype} takes {limits.min} to {limits.max}"
        )
    return wide.astype(datatype.dtype)


def _outputs(requested: Any, outputs: Mapping[str, TensorSpec]) -> tuple[list[RequestedOutput], dict[str, int]]:
    """The outputs asked for, and for some of them how many classes."""
    wanted = [RequestedOutput(output.name, True) for output in requested]
    check_outputs(wanted, outputs)
    classes: dict[str, int] = {}
    for output in requested:
        if output.parameters:
            _refuse_shared_memory(output.name, output.parameters)
            if "classification" in output.parameters:
                value = _parameters(output.parameters)["classification"]
                classes[output.name] = class_count(output.name, value, outputs[output.name])
    return wanted, {name: count for name, count in classes.items() if count}


def _refuse_shared_memory(name: str, parameters: Any) -> None:
    if "shared_memory_region" in parameters:
        raise Unsupported(f"tensor {shown(name)} is in shared memory, which is not supported; send its data instead")


def _parameters(parameters: Any) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidInput(f"parameter {shown(name)} has no value")
        found[name] = getattr(parameter, choice)
    return found
