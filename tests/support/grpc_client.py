"""Calls of the gateway's gRPC services: with raw bytes, so that a test can send anything, and with messages."""

from typing import Any

import grpc

from deployments.protocols import grpc_pool, v2_proto

SERVICE = "/inference.GRPCInferenceService/"
TIMEOUT_S = 30


def call(address: str, method: str, request: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    """The bytes of the answer, on a channel of its own without retries. Raises grpc.RpcError."""
    options = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        rpc = channel.unary_unary(SERVICE + method, request_serializer=bytes, response_deserializer=bytes)
        answer: bytes = rpc(request, timeout=timeout_s)
        return answer


def rpc(channel: Any, path: str) -> Any:
    """A call of a channel, blocking or asyncio, that takes messages (or bytes) and gives messages.

    `path` is the method's name, behind its service and a slash where that is not the inference service.
    """
    service, _, name = path.rpartition("/")
    service = service or grpc_pool.INFERENCE
    method = grpc_pool.service(service).methods_by_name[name]
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    return getattr(channel, kind)(
        f"/{service}/{name}",
        request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
        response_deserializer=grpc_pool.message(method.output_type.full_name).FromString,
    )


def infer_request(model: str, inputs: list[tuple[str, str, list[int], bytes]], version: str = "", id_: str = "") -> Any:
    """A ModelInferRequest with raw contents: (name, datatype, shape, bytes) of each input."""
    request = v2_proto.ModelInferRequest(model_name=model, model_version=version, id=id_)
    for name, datatype, shape, content in inputs:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(content)
    return request
