"""The short way from a replica's gRPC server to its gateway, past what Serve does for each call.

Behind HAProxy a replica of the gateway has a gRPC server of its own, to which Serve gives handlers that make metadata,
ids, generators and log records for every call. `short_way` puts ours before them. They call the gateway's method on
the same event loop and keep what Serve relies on: the count of ongoing requests (draining, autoscaling,
`max_ongoing_requests`), its metrics, the request's id and context. Everything else goes Serve's way: Ray's Python
proxy, calls that must wait for a slot or name an application, a cluster that traces or limits the time of calls.

All private names of Serve's that this needs are in this file; `tests/serve/test_grpc_express.py` is their contract.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
import ray.serve.context as serve_context
from ray.serve._private.common import RequestMetadata, RequestProtocol
from ray.serve._private.tracing_utils import is_tracing_enabled
from ray.serve._private.utils import generate_request_id
from ray.serve.grpc_util import RayServegRPCContext

from configs.log import LOGGER
from deployments.protocols.grpc_routes import Servicer, Shorten

logger = logging.getLogger(LOGGER)

_ID = "request_id"


def short_way(server: Any) -> Shorten | None:
    """What shortens the way of a server's calls; None where the server is no replica's that has a gateway."""
    replica: Any = getattr(getattr(server, "service_handler_factory", None), "__self__", None)
    wrapper: Any = getattr(replica, "_user_callable_wrapper", None)
    gateway = getattr(wrapper, "user_callable", None)
    if not isinstance(gateway, Servicer) or replica._grpc_options.request_timeout_s or is_tracing_enabled():
        return None
    if wrapper.event_loop is not replica._event_loop:
        return None
    return _Lane(replica, gateway).handler


class _Lane:
    """What a replica of Serve's and the gateway in it have to know of a call."""

    def __init__(self, replica: Any, gateway: Servicer) -> None:
        self._replica = replica
        self._gateway = gateway
        self._slots = replica._semaphore
        self._metrics = replica._metrics_manager
        self._app_name = replica._deployment_id.app_name

    def handler(self, path: str, serves: Any) -> Any:
        """Serve's handler of a call, with ours before it."""
        call = getattr(self._gateway, path.rpartition("/")[2])
        if not serves.response_streaming:
            return serves._replace(unary_unary=self._unary(path, call, serves.unary_unary))
        if not serves.request_streaming:
            return serves._replace(unary_stream=self._stream(path, call, serves.unary_stream))

        def both(requests: AsyncIterator[bytes], grpc_context: RayServegRPCContext) -> Any:
            return call(self._replica._make_grpc_input_stream(requests)[0], grpc_context)

        return serves._replace(stream_stream=self._stream(path, both, serves.stream_stream))

    def _unary(
        self, path: str, call: Callable[..., Awaitable[Any]], serves: Callable[..., Awaitable[bytes]]
    ) -> Callable[..., Awaitable[bytes]]:
        async def unary(request: bytes, context: Any) -> bytes:
            known = self._taken(path, context)
            if known is None:
                return await serves(request, context)
            await self._slots.acquire()  # does not wait: `_taken` looked
            with self._counted(known, context):
                return bytes((await call(request, known.grpc_context)).SerializeToString())
            return b""  # beside the error that the call ended with

        return unary

    def _stream(
        self, path: str, call: Callable[..., Any], serves: Callable[..., Any]
    ) -> Callable[..., AsyncIterator[bytes]]:
        async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
            known = self._taken(path, context)
            if known is None:
                async with aclosing(serves(request, context)) as passed_on:
                    async for answer in passed_on:
                        yield answer
                return
            await self._slots.acquire()  # does not wait: `_taken` looked
            with self._counted(known, context):
                async with aclosing(call(request, known.grpc_context)) as answers:
                    async for answer in answers:
                        yield answer.SerializeToString()

        return stream

    def _taken(self, path: str, context: Any) -> RequestMetadata | None:
        """What Serve knows of a call, if the call goes the short way."""
        if self._slots.locked():
            return None
        grpc_context = RayServegRPCContext(context)
        if grpc_context.application() not in (None, "", self._app_name) or grpc_context.multiplexed_model_id():
            return None
        unique_id = generate_request_id()
        request_id = grpc_context.request_id() or unique_id
        grpc_context.set_trailing_metadata([(_ID, request_id)])
        serve_context._serve_request_context.set(  # the log's records and handles read it
            serve_context._RequestContext(
                self._app_name,
                request_id,
                unique_id,
                self._app_name,
                grpc_context=grpc_context,
                cancel_on_parent_request_cancel=True,
            )
        )
        return RequestMetadata(
            request_id,
            unique_id,
            app_name=self._app_name,
            grpc_context=grpc_context,
            is_direct_ingress=True,
            _grpc_service_method=path,
            _request_protocol=RequestProtocol.GRPC,
        )

    @contextmanager
    def _counted(self, known: RequestMetadata, context: Any) -> Iterator[None]:
        """A call that is going on; then its code and metadata are what the gateway set."""
        told, started = known.grpc_context, time.perf_counter()
        raised: str | None = None
        self._metrics.inc_num_ongoing_requests(known)
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit) as left:
            raised = type(left).__name__
            told.set_code(grpc.StatusCode.CANCELLED)
            self._replica._on_request_cancelled(known, left)  # what it asked of others by handle ends too
            raise
        except Exception as unforeseen:  # the edge of the replica: the caller gets an answer
            raised = type(unforeseen).__name__
            if not told.code():
                logger.exception("%s failed", known._grpc_service_method)
                told.set_code(grpc.StatusCode.INTERNAL)
                told.set_details("internal error; the server's log has the details")
        finally:
            self._metrics.dec_num_ongoing_requests(known)
            self._slots.release()
            told._set_on_grpc_context(context)
            self._record(known, raised, (time.perf_counter() - started) * 1e3)

    def _record(self, known: RequestMetadata, raised: str | None, milliseconds: float) -> None:
        code = known.grpc_context.code() or grpc.StatusCode.OK
        self._metrics.record_request_metrics(
            route=self._app_name,
            latency_ms=milliseconds,
            is_error=raised is not None,
            exception_type=raised,
        )
        self._metrics.record_ingress_request_metrics(
            protocol=RequestProtocol.GRPC,
            method=known._grpc_service_method,
            route=self._app_name,
            app_name=self._app_name,
            deployment_name=self._replica._deployment_id.name,
            latency_ms=milliseconds,
            is_error=code is not grpc.StatusCode.OK,
            status_code=code.name,
        )
