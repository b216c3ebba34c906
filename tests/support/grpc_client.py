"""Calls of `inference.GRPCInferenceService` with raw bytes, so that a test can send anything."""

from typing import Any

import grpc

from deployments.protocols import v2_proto

SERVICE = "/inference.GRPCInferenceService/"
TIMEOUT_S = 30


def call(address: str, method: str, request: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    """The bytes of the answer, on a channel of its own without retries. Raises grpc.RpcError."""
    options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        rpc = channel.unary_unary(SERVICE + method, request_serializer=bytes, response_deserializer=bytes)
        answer: bytes = rpc(request, timeout=timeout_s)
        return answer


def infer_request(model: str, inputs: list[tuple[str, str, list[int], bytes]], version: str = "") -> Any:
    """A ModelInferRequest with raw contents: (name, datatype, shape, bytes) of each input."""
    request = v2_proto.ModelInferRequest(model_name=model, model_version=version)
    for name, datatype, shape, content in inputs:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(content)
    return request
