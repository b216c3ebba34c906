"""The short way from a replica's HTTP server to its gateway, past what Serve does for each request.

Behind HAProxy a replica of the gateway has an HTTP server of its own. Serve's handler of it makes metadata, two ids,
contexts and messages for every request, which for a small one is more work than decoding, running and encoding it.
`middlewares` (named in the environment by `cluster/settings.py`) puts `Express` before that handler. It hands a request
to the gateway's door and keeps what Serve relies on: the count of ongoing requests (draining, autoscaling,
`max_ongoing_requests`), its metrics, the request's id and context. Everything else goes Serve's way: health checks,
requests that must wait for a slot, other applications, a cluster that traces.

All private names of Serve's that this needs are in this file; `tests/serve/test_express.py` is their contract.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import ray.serve.context as serve_context
from ray.serve._private.common import RequestMetadata, RequestProtocol
from ray.serve._private.tracing_utils import is_tracing_enabled
from ray.serve._private.utils import generate_request_id
from starlette.middleware import Middleware
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from deployments.departures import UNWATCHED
from deployments.http_door import HttpDoor
from deployments.whole_body import gather_body

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ID = b"x-request-id"
_SMALL = 64 << 10
"""Bytes of an answer whose copying costs less than a second write."""


class Express:
    """ASGI middleware of a replica's own HTTP server."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lane = _find_lane(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the gateway, or pass it on to Serve."""
        if self._lane is not None and self._lane.takes(scope):
            await self._lane.run(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """For Serve's `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`."""
    return [Middleware(Express)]


class _Lane:
    """What a replica of Serve's and the gateway in it have to know of a request."""

    def __init__(self, replica: Any, door: HttpDoor) -> None:
        self._door = door
        self._slots = replica._semaphore
        self._metrics = replica._metrics_manager
        self._app_name = replica._deployment_id.app_name
        self._route = replica._route_prefix or ""
        self._prefix = self._route.rstrip("/")
        self._counted_as = RequestMetadata(
            request_id="",
            internal_request_id="",
            app_name=self._app_name,
            _request_protocol=RequestProtocol.HTTP,
            is_direct_ingress=True,
        )

    def takes(self, scope: Scope) -> bool:
        if scope["type"] != "http" or self._slots.locked():
            return False
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return not path.startswith("/-/") and (path.startswith(f"{self._prefix}/") or path == self._prefix)

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        unique_id = generate_request_id()
        request_id = _given_id(scope) or unique_id
        scope["root_path"] = scope.get("root_path", "") + self._prefix
        scope[UNWATCHED] = True
        serve_context._serve_request_context.set(  # the log's records and handles read it
            serve_context._RequestContext(self._route, request_id, unique_id, self._app_name)
        )

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((_ID, request_id.encode("latin-1")))
                _hold_head(send, scope, message)
            await send(message)

        cycle = getattr(receive, "__self__", None)
        if isinstance(cycle, RequestResponseCycle):
            gather_body(cycle, self._door.max_request_bytes)
        started = time.perf_counter()
        await self._slots.acquire()  # does not wait: `takes` looked
        self._metrics.inc_num_ongoing_requests(self._counted_as)
        try:
            await self._door(scope, receive, send_with_id)
        finally:
            self._metrics.dec_num_ongoing_requests(self._counted_as)
            self._slots.release()
            milliseconds = (time.perf_counter() - started) * 1e3
            self._metrics.record_request_metrics(route=self._route, latency_ms=milliseconds, is_error=False)


class _Together:
    """A transport that writes the head of an answer with its body: one system call and one packet instead of two."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """The head is written first, and held; then the body."""
        if not self._head:
            self._head = data
        else:
            self._transport.write(self._head + data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _hold_head(send: Send, scope: Scope, start: Message) -> None:
    """Have uvicorn write an answer of small, known length at once; one that streams needs its head early."""
    cycle = getattr(send, "__self__", None)
    length = next((int(value) for name, value in start["headers"] if name == b"content-length"), 0)
    if isinstance(cycle, RequestResponseCycle) and 0 < length <= _SMALL and scope["method"] != "HEAD":
        cycle.transport = _Together(cycle.transport)  # type: ignore[assignment]  # it has all that the cycle uses


def _given_id(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == _ID), "")


def _find_lane(app: App) -> _Lane | None:
    """The lane of the gateway whose replica this server belongs to; None in Serve's proxy and in other replicas."""
    handler = getattr(app, "_app", None)  # behind Serve's RequestIdMiddleware
    replica: Any = getattr(handler, "__self__", None)
    door = getattr(replica, "_user_callable_asgi_app", None)
    if not isinstance(door, HttpDoor) or replica._http_options.request_timeout_s or is_tracing_enabled():
        return None
    return _Lane(replica, door)
