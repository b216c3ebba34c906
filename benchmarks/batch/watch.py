"""What processes take while they live, read from /proc (proc(5)): CPU time, memory, the object store."""

import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.online.cpu import cpu_of

EVERY_S = 0.25
_STORE = re.compile(r"^/dev/shm/plasma")
_BLOCK = 512


@dataclass
class Process:
    """One process, as far as it was seen."""

    name: str
    cpu_s: float = 0.0
    own_bytes: int = 0
    """Most memory that is nobody else's (RssAnon)."""
    resident_bytes: int = 0
    """Most resident memory, with files and with the part of the object store that it touched (VmHWM)."""
    store_bytes: int = 0
    """Of a raylet: most memory of its object store's file, which does not shrink."""


class Watch:
    """While its context is open, looks at processes again and again.

    Args:
        pids: gives the processes that are there now.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self.processes: dict[int, Process] = {}
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cpu_s(self) -> float:
        """Of all processes."""
        return sum(process.cpu_s for process in self.processes.values())

    def once(self) -> "Watch":
        """Look now."""
        for pid in self._pids():
            with suppress(OSError):  # it has ended
                self._look(pid)
        return self

    def _run(self) -> None:
        while not self._stop.is_set():
            self.once()
            self._stop.wait(EVERY_S)

    def _look(self, pid: int) -> None:
        folder = Path(f"/proc/{pid}")
        name = kind((folder / "cmdline").read_text(errors="replace"))
        process = self.processes.setdefault(pid, Process(name))
        if name != "ray: idle":  # a worker that waits has the name of what it did before
            process.name = name
        process.cpu_s = cpu_of((folder / "stat").read_text())
        own, peak = memory_of((folder / "status").read_text())
        process.own_bytes, process.resident_bytes = max(process.own_bytes, own), max(process.resident_bytes, peak)
        if name == "raylet":
            process.store_bytes = max(process.store_bytes, _store(folder / "fd"))


def kind(command: str) -> str:
    """What a process is, by its command line (words separated by NUL)."""
    if found := re.match(r"ray::(.*)", command):
        title = found[1].partition("\0")[0].strip()
        return "ray: idle" if title.startswith("IDLE") else f"ray: {title}"
    words = command.split("\0")
    if any("cli.main" in word for word in words):
        return "millrace"
    program = Path(words[0]).name
    scripts = [Path(word).name for word in words[1:] if word.endswith(".py")]
    modules = [after for word, after in pairwise(words) if word == "-m"]
    return (modules or scripts or [program])[0]


def memory_of(status: str) -> tuple[int, int]:
    """Bytes of RssAnon and VmHWM in a /proc/pid/status; 0 for a process that is about to end."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return tuple(int(fields.get(name, "0 kB").split()[0]) << 10 for name in ("RssAnon", "VmHWM"))  # type: ignore


def _store(handles: Path) -> int:
    """Bytes of memory behind the object store's file, which has no name any more."""
    found = 0
    for handle in handles.iterdir():
        with suppress(OSError):
            if _STORE.match(os.readlink(handle)):
                found = max(found, handle.stat().st_blocks * _BLOCK)
    return found
