"""The gRPC messages of the Open Inference Protocol with Triton's extensions, and `add_servicer` for Serve."""

from typing import Any

from deployments.protocols import grpc_pool
from deployments.protocols.grpc_routes import add_service

SERVICE = grpc_pool.INFERENCE
"""Full name of the service."""


def _message(name: str) -> Any:
    return grpc_pool.message(f"inference.{name}")


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
ModelStreamInferResponse = _message("ModelStreamInferResponse")
ModelConfigRequest = _message("ModelConfigRequest")
ModelConfigResponse = _message("ModelConfigResponse")
ModelStatisticsRequest = _message("ModelStatisticsRequest")
ModelStatisticsResponse = _message("ModelStatisticsResponse")
RepositoryIndexRequest = _message("RepositoryIndexRequest")
RepositoryIndexResponse = _message("RepositoryIndexResponse")
RepositoryModelLoadRequest = _message("RepositoryModelLoadRequest")
RepositoryModelLoadResponse = _message("RepositoryModelLoadResponse")
RepositoryModelUnloadRequest = _message("RepositoryModelUnloadRequest")
RepositoryModelUnloadResponse = _message("RepositoryModelUnloadResponse")

METHODS: tuple[str, ...] = tuple(grpc_pool.service(SERVICE).methods_by_name)
"""Names of the service's calls."""


def add_servicer(servicer: Any, server: Any) -> None:
    """Register every gRPC service of the gateway; for Serve's `grpc_options.grpc_servicer_functions`.

    Beside the Open Inference Protocol these are health and server reflection. `servicer` has one method per call.
    It gets requests as raw `bytes`, because nothing deserialises them here, and returns (or yields) messages. Serve
    puts its own routing in place of the methods, and then sends `bytes` to the replica's method of the same name;
    in a replica of the gateway most calls go there directly.
    """
    from deployments.grpc_express import short_way  # knows Ray, which nobody needs for the messages

    shorten = short_way(server)
    for service in grpc_pool.SERVICES:
        add_service(service, servicer, server, shorten)
