"""Steady load of a few clients that never retry, and a record of every request that got no good answer."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from types import TracebackType
from urllib.parse import urlsplit

import grpc

from tests.support.grpc_client import SERVICE
from tests.support.http import exchange

TIMEOUT_S = 120
Ask = Callable[[], str]
"""Sends one request; returns what is wrong with the answer, or nothing."""
Client = Callable[[], AbstractContextManager[Ask]]


class Load:
    """Runs clients in threads while the context is open.

    Args:
        clients: what opens each client, called in its thread.
    """

    def __init__(self, clients: Sequence[Client]) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(client,), daemon=True) for client in clients]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        self.wait_for_more(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 10)
            assert not thread.is_alive(), "a request hangs"

    def wait_for_more(self, count: int, timeout_s: float = TIMEOUT_S) -> None:
        """Until that many more requests have ended."""
        wanted, deadline = self.answered + count, time.monotonic() + timeout_s
        while self.answered < wanted:
            assert time.monotonic() < deadline, f"{self.answered} of {wanted} requests ended in {timeout_s} s"
            time.sleep(0.02)

    def _run(self, client: Client) -> None:
        with client() as ask:
            while not self._stop.is_set():
                started = time.monotonic()
                wrong = ask()
                with self._lock:
                    self.answered += 1
                    if wrong:
                        self.failures.append(f"{wrong} (after {time.monotonic() - started:.2f} s)")
                time.sleep(0.005)


def http_client(url: str, body: dict, expected: dict | Callable[[dict], bool]) -> Client:
    """A client with one connection that stays open as long as the server lets it.

    Args:
        expected: the answer, or what says whether one is right.
    """
    right = expected if callable(expected) else expected.__eq__
    parts = urlsplit(url)

    @contextmanager
    def client() -> Iterator[Ask]:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)

        def ask() -> str:
            try:
                answer = exchange(connection, parts.path, body)
            except (OSError, http.client.HTTPException) as error:
                connection.close()  # and the next request opens another
                return f"HTTP {type(error).__name__}: {error}"
            return "" if answer.status == 200 and right(answer.json) else f"HTTP {answer.status} {answer.body!r}"

        with closing(connection):
            yield ask

    return client


def grpc_client(address: str, request: bytes, application: str = "") -> Client:
    """A client with one channel and no retry policy; it names the application if one is given.

    gRPC itself sends a call again that the server said it never took, as HAProxy does with GOAWAY when it reloads
    (RFC 9113, section 6.8). That is no loss, and every gRPC client does so unless told otherwise.
    """
    metadata = [("application", application)] if application else None

    @contextmanager
    def client() -> Iterator[Ask]:
        with grpc.insecure_channel(address) as channel:
            rpc = channel.unary_unary(SERVICE + "ModelInfer", request_serializer=bytes, response_deserializer=bytes)

            def ask() -> str:
                try:
                    rpc(request, timeout=TIMEOUT_S, metadata=metadata)
                except grpc.RpcError as error:
                    return f"gRPC {error.code()} {error.details()}"
                return ""

            yield ask

    return client
