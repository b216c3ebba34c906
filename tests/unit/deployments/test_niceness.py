"""Processes that start yield to those that answer."""

import subprocess
import sys
from pathlib import Path

SHOW = "print([os.getpriority(os.PRIO_PROCESS, thread.native_id) for thread in threading.enumerate()])"


def run(code: str) -> list[str]:
    """What code prints in a process of its own with a second thread: niceness cannot always be taken back."""
    start = "import os, threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    start += "from deployments.niceness import yielding\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code.replace("SHOW", SHOW)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    return done.stdout.split("\n")[:-1]


def test_a_process_yields_and_comes_back_where_it_may() -> None:
    during, after = run("with yielding():\n    SHOW\nSHOW")
    assert after == "[0, 0]"
    assert during in ("[10, 10]", after)


def test_who_may_not_come_back_does_not_yield() -> None:
    refuse = (
        "real = os.setpriority\n"
        "def set(which, who, value):\n"
        "    if value < os.getpriority(which, who): raise PermissionError\n"
        "    real(which, who, value)\n"
        "os.setpriority = set\n"
    )
    assert run(refuse + "with yielding():\n    SHOW") == ["[0, 0]"]
