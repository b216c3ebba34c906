"""Notice a client that leaves: a request that is answered at once is not watched at all.

Serve runs each request of a replica's own HTTP server in two extra tasks, to hear of a disconnect; for a small request
that is a seventh of its time. Requests that come past Serve (`deployments/express.py`) are watched here, if they take
longer than a moment.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]

UNWATCHED = "millrace.unwatched"
"""Key in the ASGI scope of a request whose client nobody else watches."""
WATCH_AFTER_S = 0.02


class ClientLeft(Exception):
    """The client closed its connection before the answer was ready."""


class DepartureWatch:
    """Within this context a client that leaves cancels what the current task awaits, and ClientLeft is raised.

    Args:
        receive: the request's ASGI channel, after its body was read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._left = False

    def __enter__(self) -> "DepartureWatch":
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(WATCH_AFTER_S, self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._left and kind is asyncio.CancelledError and self._task is not None and self._task.uncancel() == 0:
            raise ClientLeft from error

    def _start(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        # After the body a server has only the departure to tell. One that says anything else does not wait for it:
        # asked again and again, it would never give the loop back.
        if (await self._receive())["type"] != "http.disconnect":
            return
        self._left = True
        if self._task is not None:
            self._task.cancel()
