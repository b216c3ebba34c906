"""The gRPC door: `inference.GRPCInferenceService` over the graphs of one gateway."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from ray.serve.grpc_util import RayServegRPCContext

from configs.errors import InvalidInput, MillraceError, TooLarge
from configs.tensors import Signature
from deployments.answering import GRAPH_VERSION, PLATFORM, Answering, Stopwatch, internal_error
from deployments.protocols import v2_grpc, v2_json, v2_proto
from deployments.settings import LOGGER

logger = logging.getLogger(LOGGER)

PROTOCOL = "v2-grpc"

Method = Callable[[Any, bytes, RayServegRPCContext], Awaitable[Message]]


def _answers_errors(method: Method) -> Method:
    """Give the caller an error's gRPC code and message.

    The code goes out beside an empty message: raising would have Serve log a stack trace for each bad request.
    """

    @functools.wraps(method)
    async def call(self: Any, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        try:
            return await method(self, request, grpc_context)
        except MillraceError as error:
            return _refusal(error, grpc_context)
        except (
            Exception
        ) as unexpected:  # the edge of the replica: an answer for the caller, the stack trace for the log
            logger.exception("%s failed", method.__name__)
            internal = internal_error(unexpected)
            Stopwatch.start(self.answering.recorder, PROTOCOL).failed("", internal, internal.grpc_code)
            return _refusal(internal, grpc_context)

    return call


def _refusal(error: MillraceError, grpc_context: RayServegRPCContext) -> Message:
    grpc_context.set_code(getattr(grpc.StatusCode, error.grpc_code))
    grpc_context.set_details(error.message)
    return v2_proto.ModelInferResponse()


class GrpcDoor:
    """Methods that Serve calls by the name of the RPC, with the request's bytes."""

    answering: Answering
    server: tuple[str, str]
    _max_request_bytes: int

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
        return v2_grpc.server_metadata(*self.server, v2_json.EXTENSIONS)

    @_answers_errors
    async def ModelReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """A graph that this gateway knows is loaded."""
        asked = _parsed(v2_proto.ModelReadyRequest, request)
        self.answering.service(asked.name, asked.version)
        return v2_proto.ModelReadyResponse(ready=True)

    @_answers_errors
    async def ModelMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Inputs and outputs of a graph."""
        asked = _parsed(v2_proto.ModelMetadataRequest, request)
        service = self.answering.service(asked.name, asked.version)
        return v2_grpc.model_metadata(service.name, [GRAPH_VERSION], service.signature, PLATFORM)

    @_answers_errors
    async def ModelInfer(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Run a graph."""
        watch = Stopwatch.start(self.answering.recorder, PROTOCOL)
        graph = ""

        def signature_of(name: str, version: str) -> Signature:
            nonlocal graph
            service = self.answering.service(name, version)
            graph = name
            return service.signature

        try:
            self._check_size(request)
            asked = v2_grpc.decode_infer(request, signature_of)
            answer = await self.answering.infer(self.answering.service(graph), asked)
            reply = v2_grpc.encode_infer(asked, answer.outputs, graph, GRAPH_VERSION)
        except MillraceError as error:
            watch.failed(graph, error, error.grpc_code)
            raise
        watch.answered(graph, answer.nodes)
        return reply

    def _check_size(self, request: bytes) -> None:
        if len(request) > self._max_request_bytes:
            raise TooLarge(
                f"the message has {len(request)} bytes, more than the {self._max_request_bytes} accepted; "
                f"send fewer rows, or raise `max_request_bytes` in the serve config"
            )


def _parsed(message: Any, request: bytes) -> Any:
    try:
        return message.FromString(request)
    except DecodeError as error:
        raise InvalidInput(f"not a {message.DESCRIPTOR.name}: {error}") from None
