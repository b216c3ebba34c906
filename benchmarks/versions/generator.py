"""Starts the load generator and listens to it."""

import subprocess
import sys
import threading
from pathlib import Path

from benchmarks.isolation.live.server import ROOT, Serving
from benchmarks.versions.records import Records, load_records

_ANSWER_S = 300
"""Longest time from publishing a version to its first answer."""
_END_S = 60


class Generator:
    """Its process, from the beginning of the load.

    Args:
        folder: where it leaves its records.
    """

    def __init__(self, server: Serving, folder: Path) -> None:
        ports = [str(server.http_port), str(server.grpc_port)]
        command = [sys.executable, "-m", "benchmarks.versions.load", *ports, str(folder)]
        self._folder = folder
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._seen: set[tuple[str, int]] = set()
        self._news = threading.Condition()
        self.capacity = self._read_capacity()
        """Requests per second that it measured."""
        threading.Thread(target=self._read, daemon=True).start()

    def wait(self, model: str, version: int) -> None:
        """Until a version has answered. Raises RuntimeError if it does not."""
        with self._news:
            if not self._news.wait_for(lambda: (model, version) in self._seen, _ANSWER_S):
                raise RuntimeError(f"{model}: version {version} did not answer in {_ANSWER_S} s")

    def end(self) -> Records:
        """Stop, and give what it has written down."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_END_S)
        return load_records(self._folder)

    def kill(self) -> None:
        """Stop without a record."""
        self._process.kill()
        self._process.wait()

    def _read_capacity(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended with {self._process.wait()}; its messages are above")
        return float(line.split()[1])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            _, model, version = line.split()
            with self._news:
                self._seen.add((model, int(version)))
                self._news.notify_all()
