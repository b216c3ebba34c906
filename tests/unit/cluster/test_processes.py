"""A family of processes ends completely, whatever its members do, and nobody else is touched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.processes import Family

# Three that are hard to find or to end: out of the session, without the mark, deaf to SIGTERM.
STUBBORN = """
setsid sleep 1001 &
env -i sleep 1002 &
sh -c 'trap "" TERM; sleep 1003; sleep 1004' &
"""


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Family]]:
    families = []

    def start(script: str) -> Family:
        with (tmp_path / "log").open("wb") as output:
            families.append(Family(["sh", "-c", script], os.environ, output))
        return families[-1]

    yield start
    for family in families:
        family.end(0)


def test_every_descendant_ends_and_a_bystander_lives(start: Callable[[str], Family], tmp_path: Path) -> None:
    haproxy = tmp_path / "haproxy"
    haproxy.symlink_to("/bin/sleep")
    with subprocess.Popen([haproxy, "1000"]) as bystander:
        family = start(STUBBORN + "sleep 1000")
        wait_until(lambda: len(family.members()) == 6)
        assert family.end(0.3) == []
        assert family.members() == []
        assert bystander.poll() is None
        bystander.kill()


def test_members_are_found_after_the_child_was_killed(start: Callable[[str], Family]) -> None:
    family = start(STUBBORN + "kill -9 $$")
    assert family.child.wait(10) == -signal.SIGKILL
    wait_until(lambda: len(family.members()) == 4)
    assert family.end(0.3) == []


def test_hurry_cuts_the_grace_short(start: Callable[[str], Family]) -> None:
    family = start("trap '' TERM; sleep 1000; sleep 1000")
    before = time.monotonic()
    assert family.end(60, hurry=lambda: True) == []
    assert time.monotonic() - before < 10


def test_a_member_that_we_may_not_signal_saves_no_other(
    start: Callable[[str], Family], monkeypatch: pytest.MonkeyPatch
) -> None:
    family = start("sleep 1000 & sleep 1000")
    wait_until(lambda: len(family.members()) == 3)
    kill, members = os.kill, family.members()

    def kill_unless_foreign(pid: int, number: int) -> None:
        if pid == members[0] and number == signal.SIGTERM:
            raise PermissionError
        kill(pid, number)

    monkeypatch.setattr(os, "kill", kill_unless_foreign)
    assert family.end(0.3) == []


def test_the_child_can_be_interrupted_even_if_we_ignore_interrupts(start: Callable[[str], Family]) -> None:
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        family = start("exec sleep 1000")
    finally:
        signal.signal(signal.SIGINT, handler)
    family.child.send_signal(signal.SIGINT)
    assert family.child.wait(10) == -signal.SIGINT


def test_the_child_is_interrupted_when_its_parent_is_killed() -> None:
    parent = "import os, sys; from cluster.processes import Family; "
    parent += (
        "print(Family(['sleep', '1000'], os.environ, sys.stderr.buffer).child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    child = int(subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, check=False).stdout)
    wait_until(lambda: not Path(f"/proc/{child}").exists() or ") Z " in Path(f"/proc/{child}/stat").read_text())
