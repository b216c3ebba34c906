"""The gRPC messages and service of the Open Inference Protocol, in a descriptor pool of our own.

Clients' libraries register the same message names in protobuf's default pool, which refuses a second definition;
the private pool lets both live in one process. `open_inference.desc` is `open_inference.proto` compiled by the
command at the head of that file.
"""

from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
"""Full name of the service."""

_DESCRIPTORS = Path(__file__).with_name("open_inference.desc")


def _load_pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(_DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    return pool


_POOL = _load_pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"inference.{name}"))


ServerLiveRequest = _message("ServerLiveRequest")
ServerLiveResponse = _message("ServerLiveResponse")
ServerReadyRequest = _message("ServerReadyRequest")
ServerReadyResponse = _message("ServerReadyResponse")
ModelReadyRequest = _message("ModelReadyRequest")
ModelReadyResponse = _message("ModelReadyResponse")
ServerMetadataRequest = _message("ServerMetadataRequest")
ServerMetadataResponse = _message("ServerMetadataResponse")
ModelMetadataRequest = _message("ModelMetadataRequest")
ModelMetadataResponse = _message("ModelMetadataResponse")
InferParameter = _message("InferParameter")
InferTensorContents = _message("InferTensorContents")
ModelInferRequest = _message("ModelInferRequest")
ModelInferResponse = _message("ModelInferResponse")

METHODS: tuple[str, ...] = tuple(_POOL.FindServiceByName(SERVICE).methods_by_name)
"""Names of the service's calls; all take one message and return one."""


def add_servicer(servicer: Any, server: Any) -> None:
    """Register the service's calls on a gRPC server; for Serve's `grpc_options.grpc_servicer_functions`.

    `servicer` has one method per name in METHODS. It gets the request as raw `bytes`, because nothing deserialises
    it here, and returns one of this module's messages. Serve puts its own routing in place of the methods, as in
    code that protoc generates, and then sends `bytes` to the replica's method of the same name.
    """
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name), None, _serialize) for name in METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())
