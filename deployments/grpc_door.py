"""The gRPC door: `inference.GRPCInferenceService` over the graphs of one gateway."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import Message
from ray.serve.grpc_util import RayServegRPCContext

from configs.errors import MillraceError
from configs.tensors import Signature
from deployments.answering import GRAPH_VERSION, Answering, Stopwatch
from deployments.protocols import v2_grpc, v2_proto

Method = Callable[[Any, bytes, RayServegRPCContext], Awaitable[Message]]


def _answers_errors(method: Method) -> Method:
    """Give the caller an error's gRPC code and message."""

    @functools.wraps(method)
    async def call(self: Any, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        try:
            return await method(self, request, grpc_context)
        except MillraceError as error:
            grpc_context.set_code(getattr(grpc.StatusCode, error.grpc_code))
            grpc_context.set_details(error.message)
            raise

    return call


class GrpcDoor:
    """Methods that Serve calls by the name of the RPC, with the request's bytes."""

    answering: Answering
    server: tuple[str, str]

    @_answers_errors
    async def ServerLive(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """The gateway runs."""
        return v2_proto.ServerLiveResponse(live=True)

    @_answers_errors
    async def ServerReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """A gateway is only reached when all its graphs are loaded."""
        return v2_proto.ServerReadyResponse(ready=True)

    @_answers_errors
    async def ServerMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Name, version, extensions."""
        return v2_grpc.server_metadata(*self.server)

    @_answers_errors
    async def ModelReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """A graph that this gateway knows is loaded."""
        asked = v2_proto.parse(v2_proto.ModelReadyRequest, request)
        self.answering.service(asked.name, asked.version)
        return v2_proto.ModelReadyResponse(ready=True)

    @_answers_errors
    async def ModelMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Inputs and outputs of a graph."""
        asked = v2_proto.parse(v2_proto.ModelMetadataRequest, request)
        service = self.answering.service(asked.name, asked.version)
        return v2_grpc.model_metadata(service.name, [GRAPH_VERSION], service.signature)

    @_answers_errors
    async def ModelInfer(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Run a graph."""
        watch = Stopwatch.start(self.answering.recorder, "v2-grpc")
        graph = ""
        try:
            asked = v2_grpc.decode_infer(request, self._signature)
            graph = asked.model
            answer = await self.answering.infer(self.answering.service(graph, asked.version), asked)
            reply = v2_grpc.encode_infer(asked, answer.outputs, graph, GRAPH_VERSION)
        except MillraceError as error:
            watch.failed(graph, error, error.grpc_code)
            raise
        watch.answered(graph, answer.nodes)
        return reply

    def _signature(self, graph: str, version: str) -> Signature:
        return self.answering.service(graph, version).signature
