"""Watches a server: bytes of its models as it tells them, memory and CPU time of its process as the kernel does."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.online.cpu import cpu_seconds
from benchmarks.online.launch import Running
from benchmarks.pool.live.servers import Server, Told

_PERIOD_S = 1.0
_SETTLE_S = 4.0
"""Until the metrics tell of what has happened: they are handed on twice, once a second."""
_PAGE = 4096


class Sample(NamedTuple):
    """What was seen at a moment."""

    at: float
    """Seconds from the beginning."""
    bytes: int
    """Of loaded models, as the server tells."""
    resident: int
    """Bytes of the process that holds them."""


class Watch:
    """One family's models in a server."""

    def __init__(self, server: Server, running: Running, family: str) -> None:
        self.samples: list[Sample] = []
        self._server, self._running, self._family = server, running, family
        self._pid = _replica(running, family)
        self._ended = threading.Event()
        self._began = 0.0

    def settled(self) -> Told:
        """What the server tells when nothing has happened for a while."""
        time.sleep(_SETTLE_S)
        return self._server.told(self._running, self._family)

    def cpu_s(self) -> float:
        """CPU time of all of the server's processes so far, in seconds."""
        return sum(cpu_seconds(self._running.family.members()).values())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take samples for the length of a `with` block."""
        self._began = time.monotonic()
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            try:
                told = self._server.told(self._running, self._family)
            except (OSError, LookupError):  # what hands the metrics on waits for a core too
                continue
            resident = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1]) * _PAGE
            self.samples.append(Sample(time.monotonic() - self._began, told.bytes, resident))


def _replica(running: Running, family: str) -> int:
    """The process that holds the models: the only replica whose name has the family's. Raises ValueError."""
    [pid] = [pid for pid in running.family.members() if _is_replica(pid, family)]
    return pid


def _is_replica(pid: int, family: str) -> bool:
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:  # it has ended
        return False
    return name.startswith("ray::ServeReplica:") and family in name
