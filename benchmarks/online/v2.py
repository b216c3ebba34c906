"""Messages of the Open Inference Protocol v2, as a client writes and reads them: HTTP and gRPC."""

import json
from typing import Any

import numpy as np

from deployments.protocols.v2_proto import SERVICE, ModelInferRequest, ModelInferResponse

HEADER_LENGTH = "Inference-Header-Content-Length"
MODEL_INFER = f"/{SERVICE}/ModelInfer"
_DTYPES = {"FP32": np.float32, "INT64": np.int64}


def http_infer(x: np.ndarray, binary: bool) -> tuple[bytes, int | None]:
    """Body that asks with `x` (FP32), and the length of its JSON if bytes follow; the answer is wanted alike."""
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": x.shape}
    if not binary:
        return json.dumps({"inputs": [{**tensor, "data": x.ravel().tolist()}]}, separators=(",", ":")).encode(), None
    # "Binary Tensor Data Extension"
    tensor["parameters"] = {"binary_data_size": x.nbytes}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return header + x.tobytes(), len(header)


def http_answer(body: bytes, header_length: str | None) -> dict[str, np.ndarray]:
    """Outputs by name; `header_length` is the value of the header `HEADER_LENGTH`, if the answer has one."""
    at = len(body) if header_length is None else int(header_length)
    given: dict[str, np.ndarray] = {}
    for output in json.loads(body[:at])["outputs"]:
        dtype, shape = _DTYPES[output["datatype"]], output["shape"]
        if header_length is None:
            given[output["name"]] = np.array(output["data"], dtype).reshape(shape)
            continue
        size = output["parameters"]["binary_data_size"]
        given[output["name"]] = np.frombuffer(body[at : at + size], dtype).reshape(shape)
        at += size
    return given


def grpc_infer(model: str, x: np.ndarray) -> bytes:
    """A ModelInferRequest with `x` (FP32) as raw contents."""
    request = ModelInferRequest(model_name=model, raw_input_contents=[x.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    message: bytes = request.SerializeToString()
    return message


def grpc_answer(message: bytes) -> dict[str, np.ndarray]:
    """Outputs by name of a ModelInferResponse with raw contents."""
    response = ModelInferResponse.FromString(message)
    return {
        output.name: np.frombuffer(content, _DTYPES[output.datatype]).reshape(output.shape)
        for output, content in zip(response.outputs, response.raw_output_contents, strict=True)
    }
