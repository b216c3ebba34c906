"""What the HTTP door's routes take and give: requests whose body has arrived, answers, streams of events."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

import orjson

from configs.errors import MillraceError, Overloaded, Unauthorized
from deployments.protocols.v2_json import error_body

Headers = list[tuple[bytes, bytes]]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
BINARY: tuple[bytes, bytes] = (b"content-type", b"application/octet-stream")
HTML: tuple[bytes, bytes] = (b"content-type", b"text/html; charset=utf-8")
EVENTS: tuple[bytes, bytes] = (b"content-type", b"text/event-stream; charset=utf-8")

V2, PREDICT, PLAIN, ROUTER = "v2-http", "v1-http", "json", "router"
"""The protocols' names in metrics."""

_LONGEST_RETRY_S = 3600
"""Most that Retry-After says; a queue that does not move would say for ever."""


@dataclass(slots=True)
class Request:
    """A request whose body has arrived, without its content encoding."""

    headers: Mapping[bytes, bytes]
    body: bytes
    root: str
    """The route prefix of the application; empty for `/`."""
    arrived: float = field(default_factory=time.monotonic)
    """When its head arrived, on `time.monotonic()`: a client's patience does not begin with the end of its body."""
    query: bytes = b""
    """What follows the `?`."""
    model: str | None = None
    """The model that the path names, of a graph of many models."""


@dataclass(slots=True)
class Response:
    """An answer on its way out."""

    body: bytes
    headers: Headers = field(default_factory=lambda: [JSON])
    status: int = 200


@dataclass(slots=True)
class EventStream:
    """Server-sent events on their way out."""

    first: bytes
    """The first event, which proves that the request was good; empty if there is none."""
    others: AsyncGenerator[bytes, None]
    """Closed when the client leaves. Raises nothing: an error is an event."""
    headers: Headers = field(default_factory=lambda: [EVENTS, (b"cache-control", b"no-cache")])


Handler = Callable[[Request], Awaitable[Response | EventStream]]


class Route(NamedTuple):
    """What answers a method of a path."""

    method: str
    path: str
    handler: Handler


def authorization(request: Request) -> str:
    """What the caller shows of himself."""
    return request.headers.get(b"authorization", b"").decode("latin-1")


def document(path: str, content: object) -> Route:
    """A route that gives the same JSON to everyone."""
    body = orjson.dumps(content)

    async def handler(request: Request) -> Response:
        return Response(body)

    return Route("GET", path, handler)


def error_response(error: MillraceError) -> Response:
    """`{"error": "…"}` with the error's status, and when to come again where that is known."""
    headers = [JSON]
    if isinstance(error, Overloaded):
        headers.append((b"retry-after", b"%d" % ceil(min(max(error.retry_after_s, 1), _LONGEST_RETRY_S))))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    return Response(error_body(error.message), headers, error.http_status)
