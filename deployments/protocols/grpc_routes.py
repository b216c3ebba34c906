"""Registers gRPC services by their descriptors, and tells the replica what time a caller has left.

Serve hands a replica the metadata of a call but not its deadline, which gRPC keeps apart. Here it becomes metadata
before Serve reads it, in the proxy or, behind HAProxy, in the replica.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc

from deployments.protocols import grpc_pool
from deployments.protocols.terms import TIMEOUT_HEADER

LEAST_S = 1e-6
"""What is left of a deadline that has just passed: not 0, which would be no deadline."""

Shorten = Callable[[str, Any], Any]
"""Makes of a call's path and Serve's handler the handler to use."""


class Servicer:
    """Answers calls: by a method of each call's name, which takes the request's bytes, or an iterator of them."""


def add_service(name: str, servicer: Any, server: Any, shorten: Shorten | None = None) -> None:
    """Register the calls of one service.

    They are not registered by `add_registered_method_handlers` too, as generated code does: the server would then
    call Serve's handlers without asking `_Routes`.
    """
    methods = grpc_pool.service(name).methods_by_name.values()
    handlers = {f"/{name}/{method.name}": _handler(method, getattr(servicer, method.name)) for method in methods}
    server.add_generic_rpc_handlers((_Routes(name, handlers, shorten),))


def _handler(method: Any, call: Any) -> Any:
    match method.client_streaming, method.server_streaming:
        case True, True:
            return grpc.stream_stream_rpc_method_handler(call, None, _serialize)
        case False, True:
            return grpc.unary_stream_rpc_method_handler(call, None, _serialize)
        case _:
            return grpc.unary_unary_rpc_method_handler(call, None, _serialize)


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())


class _Routes(grpc.ServiceRpcHandler):  # type: ignore[misc]
    """Finds a call's handler. Serve replaces the handlers in `_method_handlers`, as in gRPC's own class."""

    def __init__(self, name: str, handlers: dict[str, Any], shorten: Shorten | None) -> None:
        self._name = name
        self._method_handlers = handlers
        self._shorten = shorten
        self._found: dict[str, Any] = {}

    def service_name(self) -> str:
        return self._name

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        if method not in self._found:
            if method not in self._method_handlers:
                return None
            handler = self._method_handlers[method]
            self._found[method] = _telling(self._shorten(method, handler) if self._shorten else handler)
        return self._found[method]


def _telling(handler: Any) -> Any:
    """The handler, which gets the time that is left as metadata."""
    if handler.request_streaming:
        return handler._replace(stream_stream=_telling_stream(handler.stream_stream))
    if handler.response_streaming:
        return handler._replace(unary_stream=_telling_stream(handler.unary_stream))
    return handler._replace(unary_unary=_telling_unary(handler.unary_unary))


def _telling_unary(call: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def unary(request: Any, context: Any) -> Any:
        return await call(request, _told(context))

    return unary


def _telling_stream(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], AsyncIterator[Any]]:
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        async with aclosing(call(request, _told(context))) as answers:
            async for answer in answers:
                yield answer

    return stream


def _told(context: Any) -> Any:
    left = context.time_remaining()
    return context if left is None else _Told(context, left)


class _Told:
    """A gRPC context whose metadata has the time that is left."""

    def __init__(self, context: Any, left_s: float) -> None:
        self._context = context
        self._left = (TIMEOUT_HEADER, f"{max(left_s, LEAST_S):.6f}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """What the client sent, and the time that is left."""
        return (*(self._context.invocation_metadata() or ()), self._left)
