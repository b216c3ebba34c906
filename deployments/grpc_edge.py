"""The edge between Serve's gRPC and the gateway's calls: errors become codes, a deadline becomes seconds."""

import functools
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from ray.serve.grpc_util import RayServegRPCContext

from configs.errors import InvalidInput, MillraceError, TooLarge
from configs.log import LOGGER
from deployments.answering import Stopwatch, internal_error
from deployments.clients import UNLIMITED, Clients
from deployments.naming import MODEL_HEADER
from deployments.protocols.grpc_errors import trailing_metadata
from deployments.protocols.terms import TIMEOUT_HEADER, timeout_header
from deployments.protocols.v2_proto import ModelInferResponse
from deployments.recorder import Recorder
from deployments.service import GraphService
from deployments.spans import carried_in, carried_out, ending
from deployments.tracing import Tracing
from monitoring.trace_context import TRACEPARENT

logger = logging.getLogger(LOGGER)

PROTOCOL = "v2-grpc"
"""The metrics' label."""

Method = Callable[[Any, bytes, RayServegRPCContext], Awaitable[Message]]


def answers_errors(method: Method) -> Method:
    """Give the caller of a call with one answer an error's gRPC code, message and details.

    They go out beside an empty message: raising would have Serve log a stack trace for each bad request.
    """

    @functools.wraps(method)
    async def call(self: Any, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        try:
            return await method(self, request, grpc_context)
        except MillraceError as error:
            return _refusal(error, grpc_context)
        except Exception as unexpected:  # the edge of the replica: the caller gets an answer
            logger.exception("%s failed", method.__name__)
            return _refusal(unforeseen(unexpected, self.answering.recorder), grpc_context)

    return call


def unforeseen(error: Exception, recorder: Recorder) -> MillraceError:
    """What the caller hears of an error that nobody foresaw, which is counted here; the log needs its stack trace."""
    internal = internal_error(error)
    Stopwatch.start(recorder, PROTOCOL).failed("", internal, internal.grpc_code)
    return internal


def parsed(message: Any, request: bytes) -> Any:
    """The message in these bytes. Raises InvalidInput."""
    try:
        return message.FromString(request)
    except DecodeError as error:
        raise InvalidInput(f"not a {message.DESCRIPTOR.name}: {error}") from None


def time_left(grpc_context: RayServegRPCContext) -> float | None:
    """Seconds that the caller waits: gRPC's deadline, as `grpc_routes` passes it on, or what the caller wrote himself.

    Raises InvalidInput for metadata that is not a positive number.
    """
    told = [timeout_header(str(value)) for key, value in grpc_context.invocation_metadata() if key == TIMEOUT_HEADER]
    return min(told, default=None)


def for_its_model(service: GraphService, grpc_context: RayServegRPCContext) -> GraphService:
    """A graph for the model that the metadata names, if it has many. Raises as `GraphService.by_header`."""
    if service.naming is None:
        return service
    named = dict(grpc_context.invocation_metadata()).get(MODEL_HEADER)
    return service if named is None else service.by_header(str(named))


def slot(clients: Clients | None, grpc_context: RayServegRPCContext) -> AbstractContextManager[None]:
    """Within this context a request counts as its client's. Entering raises TooManyRequests."""
    return UNLIMITED if clients is None else clients.by_metadata(dict(grpc_context.invocation_metadata()))


def check_size(request: bytes, limit: int) -> None:
    """Raises TooLarge for more than `limit` bytes."""
    if len(request) > limit:
        raise TooLarge(
            f"the message has {len(request)} bytes, more than the {limit} accepted; "
            f"send fewer rows, or raise `max_request_bytes` in the serve config"
        )


def refuse(error: MillraceError, grpc_context: RayServegRPCContext) -> None:
    """Set an error's code, message and details on a call."""
    grpc_context.set_code(getattr(grpc.StatusCode, error.grpc_code))
    grpc_context.set_details(error.message)
    if metadata := trailing_metadata(error):
        grpc_context.set_trailing_metadata([*grpc_context.trailing_metadata(), *metadata])


@contextmanager
def traced(tracing: Tracing, grpc_context: RayServegRPCContext) -> Iterator[None]:
    """A call's span, whose `traceparent` goes back in the trailing metadata."""
    span = tracing.request(carried_in(grpc_context.invocation_metadata()), PROTOCOL)
    if told := carried_out(span):
        grpc_context.set_trailing_metadata([*grpc_context.trailing_metadata(), (TRACEPARENT, told.traceparent)])
    with ending(span):
        yield


def _refusal(error: MillraceError, grpc_context: RayServegRPCContext) -> Message:
    refuse(error, grpc_context)
    return ModelInferResponse()
