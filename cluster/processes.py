"""Starts a process so that everything it starts can be found again, and ended: that, and nothing else."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

MARK = "MILLRACE_RUN_ID"
"""Environment variable that every descendant of a `Family` inherits."""
_PR_SET_PDEATHSIG = 1  # prctl(2)
_POLL_S = 0.05


class Family:
    """A child process in a session of its own, and all of its descendants, also those that outlive it.

    A descendant is known by the session, which it inherits unless it starts another, or by `MARK` in the environment
    that it was started with, which it inherits unless it overwrites it (as renamed Ray workers do). HAProxy, which
    becomes a child of init when Ray is killed, has both.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> None:
        """Start `command` with exactly this environment (and the mark); its output goes to `output`.

        The child gets SIGINT when this process dies, however that happens.
        """
        self._mark = f"{MARK}={uuid.uuid4().hex}".encode()
        name, _, value = self._mark.decode().partition("=")
        self.child = subprocess.Popen(
            command,
            env={**environment, name: value},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so Ctrl-C in a terminal reaches only us, and we decide
            preexec_fn=_prepare_child,
        )

    def members(self) -> list[int]:
        """Process ids of the child and its descendants that are alive."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_member(pid)]

    def option(self, name: str) -> str | None:
        """Value of a command-line option `name=value` of any member; None if no member has it."""
        for pid in self.members():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    if word.startswith(f"{name}=".encode()):
                        return word.partition(b"=")[2].decode()
        return None

    def end(self, grace_s: float, hurry: Callable[[], bool] = lambda: False) -> list[int]:
        """Terminate every member, kill what is left after `grace_s` or as soon as `hurry()`.

        Returns the members that live on nevertheless; empty unless the kernel holds one.
        """
        self._signal_until_gone(signal.SIGTERM, grace_s, hurry)
        self._signal_until_gone(signal.SIGKILL, 10, lambda: False)
        self.child.poll()
        return self.members()

    def _signal_until_gone(self, number: signal.Signals, timeout_s: float, hurry: Callable[[], bool]) -> None:
        told: set[int] = set()
        deadline = time.monotonic() + timeout_s
        while (members := self.members()) and time.monotonic() < deadline and not hurry():
            for pid in set(members) - told:  # each once: a member may have started another meanwhile
                _signal(pid, number)
            told.update(members)
            self.child.poll()
            time.sleep(_POLL_S)

    def _is_member(self, pid: int) -> bool:
        try:
            state, session = _state_and_session(pid)
            if state in "ZX":
                return False
            return session == self.child.pid or self._mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False  # it has ended, or belongs to another user


def _state_and_session(pid: int) -> tuple[str, int]:
    """State letter and session id (proc(5), /proc/pid/stat). The name before them may hold spaces and brackets."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[3])


def _signal(pid: int, number: signal.Signals) -> None:
    # It ended by itself, or became another user's: `end` reports whoever lives on.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _prepare_child() -> None:
    # A shell starts background jobs with SIGINT ignored, and that would be inherited: no orderly stop then.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
