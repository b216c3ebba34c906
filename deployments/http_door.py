"""The HTTP door: an ASGI application over the graphs of one gateway."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ParamSpec, TypeVar

import orjson

from configs.errors import MethodNotAllowed, MillraceError, NotFound, TooLarge, UnsupportedMediaType
from configs.tensors import Rows
from deployments.answering import GRAPH_VERSION, PLATFORM, Answering, Stopwatch, internal_error
from deployments.departures import UNWATCHED, ClientLeft, DepartureWatch
from deployments.protocols import openapi, plain, v2_json
from deployments.service import GraphService
from deployments.settings import LOGGER
from monitoring.server_timing import server_timing

logger = logging.getLogger(LOGGER)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
BINARY: tuple[bytes, bytes] = (b"content-type", b"application/octet-stream")
HTML: tuple[bytes, bytes] = (b"content-type", b"text/html; charset=utf-8")

V2, PLAIN = "v2-http", "json"
"""The protocols' names in metrics."""
LARGE = 4 << 20
"""Bytes above which a body is read, or an answer written, in a thread."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Response:
    """An answer on its way out."""

    body: bytes
    headers: Headers = field(default_factory=lambda: [JSON])
    status: int = 200


@dataclass(slots=True)
class Request:
    """A request whose body has arrived."""

    headers: Mapping[bytes, bytes]
    body: bytes
    root: str
    """The route prefix of the application; empty for `/`."""


Handler = Callable[[Request], Awaitable[Response]]


class HttpDoor:
    """Open Inference Protocol v2, plain JSON, OpenAPI.

    Args:
        answering: runs the graphs.
        server_name: the name in v2's server metadata.
        server_version: Millrace's version.
        max_request_bytes: largest body that is read.
    """

    # Serve asks every ingress application for its routes on each request; with none it asks no further.
    routes: tuple[()] = ()
    router = SimpleNamespace(redirect_slashes=False)

    def __init__(self, answering: Answering, server_name: str, server_version: str, max_request_bytes: int) -> None:
        self._answering = answering
        self._server = (server_name, server_version)
        self._max_bytes = max_request_bytes
        self._handlers: dict[str, dict[str, Handler]] = {}
        self._add_server_routes()
        for service in answering.services.values():
            self._add_graph_routes(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (or the lifespan protocol)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
            return
        response = await self._respond(scope, receive)
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        try:
            handler, request = await self._accept(scope, receive)
            if UNWATCHED not in scope:  # Serve watches this one
                return await handler(request)
            with DepartureWatch(receive):
                return await handler(request)
        except MillraceError as error:
            return _error(error)
        except ClientLeft:
            return Response(b"", status=499)  # nobody reads it; the code is nginx's, as Serve's is
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the edge of the replica: an answer for the caller, the stack trace for the log
            logger.exception("%s %s failed", scope["method"], scope["path"])
            return _error(self._count(scope, internal_error(error)))

    async def _accept(self, scope: Scope, receive: Receive) -> tuple[Handler, Request]:
        try:
            handler = self._find(scope)
            headers = dict(scope["headers"])
            return handler, Request(headers, await self._body(headers, receive), _root(scope))
        except MillraceError as error:
            raise self._count(scope, error) from None

    def _count(self, scope: Scope, error: MillraceError) -> MillraceError:
        """Count an error outside the handlers, which count their own."""
        protocol = V2 if f"{_path(scope)}/".startswith("/v2/") else PLAIN
        Stopwatch.start(self._answering.recorder, protocol).failed("", error, str(error.http_status))
        return error

    def _find(self, scope: Scope) -> Handler:
        path = _path(scope)
        methods = self._handlers.get(path) or self._handlers.get(path.rstrip("/"))
        if methods is None:
            raise self._unknown(path)
        handler = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
        if handler is None:
            raise MethodNotAllowed(f"{scope['method']} {path} is not allowed; use {' or '.join(sorted(methods))}")
        return handler

    def _unknown(self, path: str) -> NotFound:
        parts = path.strip("/").split("/")
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            try:
                self._answering.service(parts[2], parts[4] if len(parts) > 4 and parts[3] == "versions" else "")
            except NotFound as error:
                return error
        graphs = ", ".join(f"/{name}" for name in sorted(self._answering.services))
        return NotFound(f"no such path: {path[:200]}; graphs are at {graphs}, the v2 protocol below /v2, help at /docs")

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise self._too_large(int(declared))
        encoding = headers.get(b"content-encoding", b"identity")
        if encoding not in (b"", b"identity"):
            raise UnsupportedMediaType(
                f"content-encoding {encoding.decode('latin-1')[:50]!r} is not supported; send plain"
            )
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large(size)
            chunks.append(chunk)
        return b"".join(chunks) if len(chunks) > 1 else chunks[0]

    def _too_large(self, size: int) -> TooLarge:
        return TooLarge(
            f"the body has at least {size} bytes, more than the {self._max_bytes} accepted; "
            f"send fewer rows, or raise `max_request_bytes` in the serve config"
        )

    def _add(self, method: str, path: str, handler: Handler) -> None:
        self._handlers.setdefault(path, {})[method] = handler

    def _add_document(self, path: str, document: object, status: int = 200) -> None:
        body = orjson.dumps(document)

        async def handler(request: Request) -> Response:
            return Response(body, status=status)

        self._add("GET", path, handler)

    def _add_server_routes(self) -> None:
        services = self._answering.services
        self._add_document("/v2", v2_json.server_metadata(*self._server, v2_json.EXTENSIONS))
        self._add_document("/v2/health/live", {"live": True})
        self._add_document("/v2/health/ready", {"ready": True})
        self._add_document("/v2/models", {"models": sorted(services)})
        graphs = [(service.name, service.description, service.signature) for service in services.values()]
        self._add_document("/openapi.json", openapi.openapi_document(graphs, self._server[1]))
        page = openapi.docs_page("openapi.json").encode()

        async def docs(request: Request) -> Response:
            return Response(page, [HTML])

        async def index(request: Request) -> Response:
            return Response(b"", [(b"location", f"{request.root}/docs".encode())], 307)

        self._add("GET", "/docs", docs)
        self._add("GET", "/", index)
        self._add("GET", "", index)

    def _add_graph_routes(self, service: GraphService) -> None:
        metadata = v2_json.model_metadata(service.name, [GRAPH_VERSION], service.signature, PLATFORM)
        for base in (f"/v2/models/{service.name}", f"/v2/models/{service.name}/versions/{GRAPH_VERSION}"):
            self._add_document(base, metadata)
            self._add_document(f"{base}/ready", {"name": service.name, "ready": True})
            self._add("POST", f"{base}/infer", self._v2_infer(service))
        self._add_document(f"/{service.name}", metadata)
        self._add("POST", f"/{service.name}", self._plain_infer(service))

    def _v2_infer(self, service: GraphService) -> Handler:
        async def handler(http: Request) -> Response:
            watch = Stopwatch.start(self._answering.recorder, V2)
            try:
                length = http.headers.get(b"inference-header-content-length")
                request = await _off_loop(
                    len(http.body),
                    v2_json.decode_infer,
                    http.body,
                    length.decode("latin-1") if length else None,
                    service.signature,
                    service.name,
                    GRAPH_VERSION,
                )
                answer = await self._answering.infer(service, request)
                outputs = answer.outputs
                body, header = await _off_loop(
                    _size(outputs), v2_json.encode_infer, request, outputs, service.name, GRAPH_VERSION
                )
            except MillraceError as error:
                watch.failed(service.name, error, str(error.http_status))
                raise
            timing = server_timing(answer.nodes, watch.answered(service.name, answer.nodes))
            headers = [JSON if header is None else BINARY, (b"server-timing", timing.encode())]
            if header is not None:
                headers.append((b"inference-header-content-length", b"%d" % header))
            return Response(body if isinstance(body, bytes) else b"".join(body), headers)

        return handler

    def _plain_infer(self, service: GraphService) -> Handler:
        async def handler(http: Request) -> Response:
            watch = Stopwatch.start(self._answering.recorder, PLAIN)
            try:
                content_type = http.headers.get(b"content-type", b"").decode("latin-1")
                request = await _off_loop(len(http.body), plain.decode, http.body, content_type, service.signature)
                answer = await self._answering.infer(service, request)
                body = await _off_loop(_size(answer.outputs), plain.encode, request, answer.outputs)
            except MillraceError as error:
                watch.failed(service.name, error, str(error.http_status))
                raise
            timing = server_timing(answer.nodes, watch.answered(service.name, answer.nodes))
            return Response(body, [JSON, (b"server-timing", timing.encode())])

        return handler


def _root(scope: Scope) -> str:
    root: str = scope.get("root_path", "")
    return root.rstrip("/")


def _path(scope: Scope) -> str:
    """The path below the application's route prefix."""
    path: str = scope["path"]
    return path.removeprefix(_root(scope))


async def _off_loop(size: int, codec: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the codec gives; from a thread if it has so many bytes to read or write that other requests would wait."""
    if size <= LARGE:
        return codec(*args, **kwargs)
    return await asyncio.to_thread(codec, *args, **kwargs)


def _size(outputs: Rows) -> int:
    size = sum(array.nbytes for array in outputs.values())
    if size > LARGE:
        return size
    return size + sum(len(item) for array in outputs.values() if array.dtype == object for item in array.flat)


def _error(error: MillraceError) -> Response:
    return Response(v2_json.error_body(error.message), status=error.http_status)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
