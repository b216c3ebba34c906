"""Kills the control deployment's process again and again."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

_CONTROL = "ray::ServeReplica:millrace:control"
"""How Ray names its process."""
_LOOK_S = 0.1


class Kills:
    """While its context is open, SIGKILL about every `every_s`, as soon as there is a process to kill.

    Args:
        server: process id of `millrace run`.
    """

    def __init__(self, server: int, every_s: float) -> None:
        self.at: list[float] = []
        """When it killed, in seconds since 1970."""
        self._server, self._every_s = server, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Kills":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        killed, wait_s = set[int](), self._every_s
        while not self._stop.wait(wait_s):
            wait_s = _LOOK_S
            for pid in set(control_of(self._server)) - killed:
                killed.add(pid)
                with suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(pid, signal.SIGKILL)
                    self.at.append(time.time())
                    wait_s = self._every_s


def control_of(server: int) -> list[int]:
    """Processes of the control of a server that `millrace run` started."""
    [leader] = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_control(pid, leader)]


def _is_control(pid: int, leader: str) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[3] == leader and Path(f"/proc/{pid}/cmdline").read_text().startswith(_CONTROL)
    except OSError:  # it has ended
        return False
