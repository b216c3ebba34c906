"""The HTTP door: an ASGI application over the graphs of one gateway."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, nullcontext, suppress
from itertools import chain
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

from fastapi import APIRouter

from configs.errors import MethodNotAllowed, MillraceError, NotFound, TooLarge
from configs.log import LOGGER
from deployments.admin import Admin
from deployments.answering import Answering, Stopwatch, internal_error
from deployments.departures import UNWATCHED, ClientLeft, DepartureWatch
from deployments.http_admin import admin_routes
from deployments.http_messages import (
    PLAIN,
    PREDICT,
    V2,
    EventStream,
    Handler,
    Request,
    Response,
    error_response,
)
from deployments.http_models import with_model
from deployments.http_plain import docs_routes, plain_routes
from deployments.http_predict import predict_routes
from deployments.http_v2 import v2_routes
from deployments.large import LARGE, off_loop
from deployments.protocols import compression, repository
from deployments.protocols.request import shown
from deployments.routers import check_path, mounted

logger = logging.getLogger(LOGGER)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OF_A_MODEL = re.compile(r"(/v[12]/models/|/)([^/:.]+)\.([^/:]*)(.*)", re.DOTALL)
"""A path with `<graph>.<model>` where others have `<graph>`."""
_COMPRESSED_AT_ONCE = 64 << 10
"""Bytes of an answer above which it is compressed in a thread: a millisecond or so."""


class HttpDoor:
    """Open Inference Protocol v2, `:predict`, plain JSON, OpenAPI; and the user's own routers, where none of these is.

    Args:
        answering: runs the graphs.
        server_name: the name in v2's server metadata.
        server_version: Millrace's version.
        max_request_bytes: largest body that is read, compressed and not.
        routers: the user's own, by their names. Raises ConfigError if one has a path of ours.
        admin: asks control for operators; None: there is no admin API.
    """

    # Serve asks every ingress application for its routes on each request; with none it asks no further.
    routes: tuple[()] = ()
    router = SimpleNamespace(redirect_slashes=False)

    def __init__(
        self,
        answering: Answering,
        server_name: str,
        server_version: str,
        max_request_bytes: int,
        routers: Mapping[str, APIRouter] = MappingProxyType({}),
        admin: Admin | None = None,
    ) -> None:
        self._answering = answering
        self._servables = admin.servables if admin else ()
        self.max_request_bytes = max_request_bytes
        app = mounted(routers.values(), answering, self._no_route) if routers else None
        self._custom = cast("App | None", app)  # FastAPI's types are MutableMapping where ours are dict
        self._handlers: dict[str, dict[str, Handler]] = {}
        for method, path, handler in chain(
            v2_routes(answering, server_name, server_version, admin),
            predict_routes(answering),
            docs_routes(answering, server_version, app.openapi() if app else {}, self._servables),
            plain_routes(answering),
            admin_routes(admin) if admin else (),
        ):
            self._handlers.setdefault(path, {})[method] = handler
        for name, router in routers.items():
            check_path(name, router, self._handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (or the lifespan protocol)."""
        if scope["type"] != "http":
            await (self._custom or _no_http)(scope, receive, send)
        elif self._custom is not None and self._methods(_path(scope)) is None:
            await self._pass_on(self._custom, scope, receive, send)
        else:
            await self._answer(await self._respond(scope, receive), scope, receive, send)

    async def _answer(self, answer: Response | EventStream, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(answer, EventStream):
            with suppress(ClientLeft), _watched(scope, receive):
                await _send_events(answer, send)
            return
        headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Scope, receive: Receive) -> Response | EventStream:
        try:
            handler, request = await self._accept(scope, receive)
            with _watched(scope, receive):
                answer = await handler(request)
            if b"accept-encoding" in request.headers:
                await _compress(answer, request.headers[b"accept-encoding"])
            return answer
        except MillraceError as error:
            return error_response(error)
        except ClientLeft:
            return Response(b"", status=499)  # nobody reads it; the code is nginx's, as Serve's is
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the edge of the replica: an answer for the caller, the stack trace for the log
            logger.exception("%s %s failed", scope["method"], scope["path"])
            return error_response(self._count(scope, internal_error(error)))

    async def _pass_on(self, custom: App, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the user's routes answer.

        The body is read here, so that `max_request_bytes` holds for it and a client that leaves can be noticed.
        """
        try:
            body = await self._read(receive)
            with self._answering.slot(dict(scope["headers"])), _watched(scope, receive):
                await custom(scope, _said_again(body, receive), send)
        except MillraceError as error:  # the body's or the client's; the routes' own have been answered
            await self._answer(error_response(self._count(scope, error)), scope, receive, send)
        except ClientLeft:
            return
        except Exception:  # the edge of the replica: the caller has its answer, the log gets the stack trace
            logger.exception("%s %s failed", scope["method"], scope["path"])

    async def _accept(self, scope: Scope, receive: Receive) -> tuple[Handler, Request]:
        arrived = time.monotonic()
        try:
            handler = self._find(scope)
            headers = dict(scope["headers"])
            return handler, Request(headers, await self._body(headers, receive), _root(scope), arrived, _query(scope))
        except MillraceError as error:
            raise self._count(scope, error) from None

    def _count(self, scope: Scope, error: MillraceError) -> MillraceError:
        """Count an error outside the handlers, which count their own."""
        protocol = {"/v2/": V2, "/v1/": PREDICT}.get(f"{_path(scope)}/"[:4], PLAIN)
        Stopwatch.start(self._answering.recorder, protocol).failed("", error, str(error.http_status))
        return error

    def _find(self, scope: Scope) -> Handler:
        path = _path(scope)
        methods = self._methods(path)
        if methods is None:
            raise self._refusal(path)
        handler = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if handler is None:
            raise MethodNotAllowed(f"{scope['method']} {path} is not allowed; use {' or '.join(sorted(methods))}")
        return handler

    def _methods(self, path: str) -> dict[str, Handler] | None:
        return self._handlers.get(path) or self._handlers.get(path.rstrip("/")) or self._methods_for_model(path)

    def _methods_for_model(self, path: str) -> dict[str, Handler] | None:
        """Those of the graph's own path, for a path that names one of its many models."""
        parts = _OF_A_MODEL.fullmatch(path)
        if parts is None or not self._answering.names_model(f"{parts[2]}.{parts[3]}"):
            return None
        methods = self._handlers.get(f"{parts[1]}{parts[2]}{parts[4].rstrip('/')}")
        return methods and {method: with_model(handler, parts[3]) for method, handler in methods.items()}

    def _no_route(self, scope: Scope) -> MillraceError:
        return self._count(scope, self._refusal(_path(scope)))

    def _refusal(self, path: str) -> MillraceError:
        """Why nothing answers at a path, in the words of its protocol."""
        try:
            self._look_up(path)
        except MillraceError as error:
            return error
        graphs = ", ".join(f"/{name}" for name in sorted(self._answering.services))
        return NotFound(
            f"no such path: {path[:200]}; graphs are at {graphs}, the v2 protocol below /v2, :predict below /v1, "
            "help at /docs"
        )

    def _look_up(self, path: str) -> None:
        """Raises the protocol's own error for a graph or a version that is not there."""
        match path.strip("/").replace(":", "/").split("/"):
            case ["v1" | "v2", "models", graph, "versions", version, *_]:
                self._answering.service(graph, version)
            case ["v1" | "v2", "models", graph, *_]:
                self._answering.service(graph)
            case ["v2", "repository", "models", name, "load" | "unload"] if self._answering.names_model(name):
                raise repository.on_demand(name)
            case ["v2", "repository", "models", graph, "load"]:
                repository.load(graph, self._answering.services, {})
            case ["admin", "servables", servable, *_] if servable not in self._servables:
                known = ", ".join(sorted(self._servables)) or "none"
                raise NotFound(f"there is no servable {shown(servable)}; this server has {known}")

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.max_request_bytes:
            raise self._too_large(int(declared))
        encoding = headers.get(b"content-encoding")
        coding = compression.content_coding(encoding) if encoding is not None else ""
        body = await self._read(receive)
        if not coding:
            return body
        most = len(body) * compression.MOST_EXPANSION
        return await off_loop(most, compression.decompressed, body, coding, self.max_request_bytes)

    async def _read(self, receive: Receive) -> bytes:
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self.max_request_bytes:
                raise self._too_large(size)
            chunks.append(chunk)
        return b"".join(chunks) if len(chunks) > 1 else chunks[0]

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the body has at least {size} bytes, more than the {self.max_request_bytes} accepted; "
            f"send fewer rows, or raise `max_request_bytes` in the serve config"
        )


def _root(scope: Scope) -> str:
    root: str = scope.get("root_path", "")
    return root.rstrip("/")


def _query(scope: Scope) -> bytes:
    query: bytes = scope.get("query_string", b"")
    return query


def _path(scope: Scope) -> str:
    """The path below the application's route prefix."""
    path: str = scope["path"]
    return path.removeprefix(_root(scope))


def _watched(scope: Scope, receive: Receive) -> "DepartureWatch | nullcontext[None]":
    """Others are watched by Serve."""
    return DepartureWatch(receive) if UNWATCHED in scope else nullcontext()


async def _compress(answer: Response | EventStream, accepted: bytes) -> None:
    """Compress an answer, if the caller prefers that."""
    if isinstance(answer, EventStream) or len(answer.body) < compression.LEAST_BYTES:
        return
    coding = compression.preferred_coding(accepted)
    if coding:
        work = LARGE * len(answer.body) // _COMPRESSED_AT_ONCE  # compressing is so much slower than encoding
        answer.body = await off_loop(work, compression.compressed, answer.body, coding)
        answer.headers += [(b"content-encoding", coding.encode()), (b"vary", b"accept-encoding")]


async def _send_events(stream: EventStream, send: Send) -> None:
    """Send events as they come; whoever is cancelled while sending closes their source."""
    async with aclosing(stream.others):
        await send({"type": "http.response.start", "status": 200, "headers": stream.headers})
        await send({"type": "http.response.body", "body": stream.first, "more_body": True})
        async for event in stream.others:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _said_again(body: bytes, receive: Receive) -> Receive:
    """A channel that says the body, which has been read, and then what the server says."""
    said = False

    async def channel() -> dict[str, Any]:
        nonlocal said
        if said:
            return await receive()
        said = True
        return {"type": "http.request", "body": body, "more_body": False}

    return channel


async def _no_http(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuses a WebSocket, and follows the lifespan protocol."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1003})
    else:
        await _lifespan(receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
