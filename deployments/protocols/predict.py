"""TensorFlow Serving's and KServe v1's `:predict`: rows as `instances` or columns as `inputs`, and their documents.

Spec: "RESTful API" (TensorFlow Serving), "V1 Protocol" (KServe).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from configs.errors import InvalidInput
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from deployments.protocols.arrays import kind_of, parse_tensors
from deployments.protocols.nested import to_array, to_nested
from deployments.protocols.numbers import NumberList
from deployments.protocols.request import InferRequest, check_together, shown, spec_of

SIGNATURE_NAME = "serving_default"
"""The one signature of a graph. Requests may name any: a graph has no other."""

_DTYPES = {
    Datatype.BOOL: "DT_BOOL",
    Datatype.UINT8: "DT_UINT8",
    Datatype.UINT16: "DT_UINT16",
    Datatype.UINT32: "DT_UINT32",
    Datatype.UINT64: "DT_UINT64",
    Datatype.INT8: "DT_INT8",
    Datatype.INT16: "DT_INT16",
    Datatype.INT32: "DT_INT32",
    Datatype.INT64: "DT_INT64",
    Datatype.FP16: "DT_HALF",
    Datatype.BF16: "DT_BFLOAT16",
    Datatype.FP32: "DT_FLOAT",
    Datatype.FP64: "DT_DOUBLE",
    Datatype.BYTES: "DT_STRING",
}


@dataclass(slots=True)
class PredictRequest(InferRequest):
    """A request that remembers its form: the answer has the same."""

    columns: bool = False
    """Whether it came as `inputs`, one list an input, and not as `instances`, one value a row."""


def decode(body: bytes, signature: Signature, model: str, version: str) -> PredictRequest:
    """A checked request from the body of `POST /v1/models/{model}[/versions/{version}]:predict`.

    `instances` is a list of rows: values of the graph's one input, or objects of input name → value.
    `inputs` is an object of input name → list of rows, or the list of rows of the graph's one input.
    BYTES are strings or `{"b64": "…"}`. Other keys of the body are ignored, as those servers do. Raises InvalidInput.
    """
    document = parse_tensors(body, "an object with `instances` or `inputs`")
    columns = "inputs" in document
    if columns == ("instances" in document):
        raise InvalidInput("send one of `instances` (a list of rows) and `inputs` (a list of rows for each input)")
    specs = signature.inputs or {}
    if columns:
        values = document["inputs"]
        named = values if type(values) is dict else {_only(specs, "`inputs`"): values}
    else:
        named = _columns(document["instances"], specs)
    rows = {name: to_array(name, value, spec_of(name, specs), body) for name, value in named.items()}
    check_together(rows, specs)
    return PredictRequest(model, version, "", rows, {}, None, False, columns=columns)


def encode(request: InferRequest, outputs: Rows) -> bytes:
    """`{"predictions": [row, …]}`, or `{"outputs": …}` for a request in columns.

    A graph's one output stands without its name; several are an object, in rows one for each.
    """
    nested = {name: to_nested(array) for name, array in outputs.items()}
    document: dict[str, Any]
    if isinstance(request, PredictRequest) and request.columns:
        document = {"outputs": nested if len(nested) > 1 else next(iter(nested.values()))}
    elif len(nested) > 1:
        document = {"predictions": [dict(zip(nested, row, strict=True)) for row in zip(*nested.values(), strict=True)]}
    else:
        document = {"predictions": next(iter(nested.values()))}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def status(name: str, version: str) -> dict[str, Any]:
    """The document of `GET /v1/models/{name}`: TensorFlow Serving's and KServe's in one."""
    good = {"error_code": "OK", "error_message": ""}
    versions = [{"version": version, "state": "AVAILABLE", "status": good}]
    return {"name": name, "ready": True, "model_version_status": versions}


def metadata(name: str, version: str, signature: Signature) -> dict[str, Any]:
    """The document of `GET /v1/models/{name}/metadata`."""
    definition = {
        "inputs": _tensor_infos(signature.inputs or {}),
        "outputs": _tensor_infos(signature.outputs or {}),
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE_NAME: definition}}},
    }


def _tensor_infos(specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    return {
        name: {
            "name": name,
            "dtype": _DTYPES[spec.datatype],
            "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in spec.shape], "unknown_rank": False},
        }
        for name, spec in specs.items()
    }


def _columns(instances: Any, specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    """Input name → list of rows."""
    if type(instances) is NumberList:
        return {_only(specs, "a row of `instances`"): instances}
    if type(instances) is not list:
        raise InvalidInput(f"`instances` must be a list of rows, not {kind_of(instances)}")
    if not instances:
        raise InvalidInput("`instances` is an empty list: zero rows; send at least one row")
    if not _is_named(instances[0], specs):
        return {_only(specs, "a row of `instances`"): instances}
    names = instances[0].keys()
    for index, row in enumerate(instances):
        if type(row) is not dict or row.keys() != names:
            came = f"has {shown(list(row))}" if type(row) is dict else f"is {kind_of(row)}"
            raise InvalidInput(
                f"row {index} of `instances` {came}, row 0 has {shown(list(names))}; name the same inputs"
            )
    return {name: _column([row[name] for row in instances], specs.get(name)) for name in names}


def _column(values: list[Any], spec: TensorSpec | None) -> list[Any]:
    values = [value.to_list() if type(value) is NumberList else value for value in values]
    # One number for all rows: in this form it stands in each of them.
    return values[:1] if spec is not None and spec.is_shared and values.count(values[0]) == len(values) else values


def _is_named(row: Any, specs: Mapping[str, TensorSpec]) -> bool:
    """Whether a row is an object of inputs; `{"b64": "…"}` is a value, unless an input has that name."""
    return type(row) is dict and (list(row) != ["b64"] or "b64" in specs)


def _only(specs: Mapping[str, TensorSpec], what: str) -> str:
    if len(specs) != 1:
        raise InvalidInput(
            f"{what} has no names, but the graph takes {len(specs)} inputs; send an object of {', '.join(specs)}"
        )
    return next(iter(specs))
