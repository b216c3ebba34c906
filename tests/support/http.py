"""One HTTP request on a connection of its own: no retries, no redirects, a timeout, and everything of the answer."""

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 30


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def request(
    url: str,
    body: bytes | Iterable[bytes] | dict | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Send one request: GET without a body, else POST. A dictionary goes as JSON, an iterator of bytes in chunks."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        return exchange(connection, parts.path, body, headers, method)
    finally:
        connection.close()


def exchange(
    connection: http.client.HTTPConnection,
    path: str,
    body: bytes | Iterable[bytes] | dict | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
) -> Answer:
    """As `request`, on a connection that stays open."""
    if isinstance(body, dict):
        body, headers = json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}
    verb = method or ("GET" if body is None else "POST")
    connection.request(verb, path, body, dict(headers or {}), encode_chunked=not isinstance(body, bytes | None))
    response = connection.getresponse()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
