"""Who starts yields to who answers: the CPU that a process takes while it loads is lent by those that have requests."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STEP = 10
"""By how much nicer: about a tenth of the CPU of a process that is not, where both want all of it."""
MOST = 19
"""The nicest that a process can be."""


@contextmanager
def yielding() -> Iterator[None]:
    """For what a process does before it answers requests; nothing where it may not come back from it.

    To come back needs CAP_SYS_NICE, or an RLIMIT_NICE. Processes that are started meanwhile stay as they are.
    """
    if not _may_come_back():
        yield
        return
    base = os.getpriority(os.PRIO_PROCESS, 0)
    _set(base, _nicer(base))
    try:
        yield
    finally:
        _set(_nicer(base), base)


def _nicer(base: int) -> int:
    return min(base + STEP, MOST)


def _set(before: int, after: int) -> None:
    """Change every thread: Linux has the value for each, and gives it to the threads that it starts."""
    while changed := [thread for thread in _threads() if _priority(thread) == before]:
        for thread in changed:
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, thread, after)
        if before == after:
            return


def _priority(thread: int) -> int | None:
    try:
        return os.getpriority(os.PRIO_PROCESS, thread)
    except ProcessLookupError:  # it has ended
        return None


def _threads() -> list[int]:
    tasks = Path("/proc/self/task")
    return [int(thread.name) for thread in tasks.iterdir()] if tasks.is_dir() else [0]  # elsewhere: the process


def _may_come_back() -> bool:
    """Tried by a thread of its own: whoever may not stays what it has become."""
    allowed = False

    def attempt() -> None:
        nonlocal allowed
        before = os.getpriority(os.PRIO_PROCESS, 0)
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, before + 1)
            os.setpriority(os.PRIO_PROCESS, 0, before)
            allowed = True

    if sys.platform == "linux":  # elsewhere a thread has no niceness of its own
        thread = threading.Thread(target=attempt, name="millrace-nice")
        thread.start()
        thread.join()
    return allowed
