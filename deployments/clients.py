"""How many requests one client may have in flight, so that it cannot take what the others need."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from configs.errors import TooManyRequests
from configs.serve import ClientLimit

UNLIMITED: AbstractContextManager[None] = nullcontext()
_NEWEST = 0.1
"""Weight of the latest request in a client's pace: about the last ten count."""


class Clients:
    """Counts the requests in flight of each client. Used from one event loop.

    A client is forgotten with its last request in flight, so however many names are invented, no more are known than
    requests are in flight.
    """

    def __init__(self, limit: ClientLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._header, self._most, self._clock = limit.header, limit.in_flight, clock
        self._header_bytes = limit.header.encode()
        self._clients: dict[str, _Client] = {}

    def __len__(self) -> int:
        """Clients that have requests in flight."""
        return len(self._clients)

    def by_headers(self, headers: Mapping[bytes, bytes]) -> AbstractContextManager[None]:
        """The place of an HTTP request, as `slot`."""
        return self.slot(headers.get(self._header_bytes, b"").decode("latin-1"))

    def by_metadata(self, metadata: Mapping[str, str | bytes]) -> AbstractContextManager[None]:
        """The place of a gRPC call, as `slot`."""
        return self.slot(str(metadata.get(self._header, "")))

    @contextmanager
    def slot(self, said: str) -> Iterator[None]:
        """Within this context a request is in flight. Raises TooManyRequests if its client has as many as it may.

        Args:
            said: what names the client; of a list the last, which the proxy nearest to us has added.
        """
        name, began = said.rpartition(",")[2].strip(), self._clock()
        client = self._clients.setdefault(name, _Client())
        if client.in_flight >= self._most:
            raise self._refusal(client.wait_s(began))
        client.begin(began)
        try:
            yield
        finally:
            client.end(began, self._clock())
            if not client.in_flight:
                del self._clients[name]

    def _refusal(self, wait_s: float) -> TooManyRequests:
        # The name may be a secret, such as an API key, and messages are logged.
        return TooManyRequests(
            f"this client (header {self._header}) has {self._most} requests in flight, as many as one may have here; "
            "send more when some are answered, or raise `client_limit.in_flight` in the serve config",
            wait_s,
        )


@dataclass(slots=True)
class _Client:
    """What one client has in flight, and its pace."""

    in_flight: int = 0
    _begun: float = 0.0
    """Sum of the times at which these began."""
    _usual_s: float = 0.0
    """How long its latest requests took; 0 before the first."""

    def begin(self, now: float) -> None:
        self.in_flight += 1
        self._begun += now

    def end(self, began: float, now: float) -> None:
        self.in_flight -= 1
        self._begun -= began
        self._usual_s += (now - began - self._usual_s) * (_NEWEST if self._usual_s else 1)

    def wait_s(self, now: float) -> float:
        """Requests in flight ÷ answers per second: by Little's law (1961) that is how long one request takes.

        If those in flight have taken longer already, that counts.
        """
        return max(self._usual_s, now - self._begun / self.in_flight)
