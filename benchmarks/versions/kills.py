"""Kills the control deployment's process again and again."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from sqlalchemy import func, select

from rollouts.database import open_database
from rollouts.tables import LeaderRow

_CONTROL = "ray::ServeReplica:millrace:control"
"""How Ray names its process."""
_LOOK_S = 0.1


class Kills:
    """While its context is open: SIGKILL, again and again, to a control that has worked for `every_s`.

    From its start on that would often hit one that has done nothing yet: where cores are few, a process takes nearly
    ten seconds until it has imported all.

    Args:
        server: process id of `millrace run`.
        state_url: of its state, in which each control that begins to work writes so.
    """

    def __init__(self, server: int, state_url: str, every_s: float) -> None:
        self.at: list[float] = []
        """When it killed, in seconds since 1970."""
        self.away_s: list[float] = []
        """How long nobody was at work after each kill but the last."""
        self._server, self._every_s = server, every_s
        self._state = open_database(state_url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Kills":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._state.dispose()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            before, killed = self._leader(), time.time()
            for pid in control_of(self._server):
                with suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(pid, signal.SIGKILL)
            self.at.append(killed)
            while self._leader() == before:
                if self._stop.wait(_LOOK_S):
                    return
            self.away_s.append(time.time() - killed)

    def _leader(self) -> int | None:
        with self._state.connect() as connection:
            return connection.scalar(select(func.max(LeaderRow.id)))


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
