"""New versions of models take over while requests flow; broken ones do not; control may die."""

import os
import signal
import subprocess
import time

import pytest

from tests.support import lookups
from tests.support.load import Load, http_client
from tests.support.numbers import publish
from tests.support.server import ROOT, Server, millrace
from tests.support.shared import NUMBERS, USERS

# No proxy takes part in what versions do.
pytestmark = [pytest.mark.timeout(600), pytest.mark.proxy("haproxy")]


class Numbers:
    """The server's graph `numbers`, and its models."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def publish(self, model: str, number: int, **kwargs: object) -> None:
        """A version, whole from its first moment."""
        publish(self.server.folder / NUMBERS, model, number, **kwargs)

    def serving(self) -> tuple[int, int]:
        """The versions that answer."""
        answer = self.server.request("/numbers", {"x": [[0, 0]]}).json
        return int(answer["inside"][0][0]), int(answer["outside"][0][0])

    def until(self, inside: int, outside: int) -> None:
        """Wait until these answer."""
        self.server.wait(lambda: self.serving() == (inside, outside), 120, f"versions {inside} and {outside} answer")

    def operate(self, *arguments: object, token: str | None = None) -> tuple[int, str]:
        """Exit code and output of `millrace models`, with the token that control left in its folder."""
        command = millrace("models", *map(str, arguments), "--url", self.server.http)
        command += [] if token is None else ["--token", token]
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
        )
        return done.returncode, done.stdout

    def load(self, forwards: bool = True) -> Load:
        """Clients that each must never see an older version after a newer one, unless there is a way back."""
        return Load([self._client(forwards) for _ in range(4)])

    def _client(self, forwards: bool):  # type: ignore[no-untyped-def]
        seen = [0.0, 0.0]

        def right(answer: dict) -> bool:
            now = [answer["inside"][0][0], answer["outside"][0][0]]
            newer = all(a >= b for a, b in zip(now, seen, strict=True))
            seen[:] = now
            return newer or not forwards

        return http_client(f"{self.server.http}/numbers", {"x": [[0, 0]]}, right)


@pytest.fixture
def numbers(server: Server) -> Numbers:
    return Numbers(server)


def test_versions_take_over_under_load_and_no_request_is_lost(numbers: Numbers) -> None:
    with numbers.load() as load:
        for number in (2, 3):
            numbers.publish("inside", number)
            numbers.publish("outside", number)
            numbers.until(number, number)
            load.wait_for_more(50)
    assert load.failures == []
    stages = [name for name in numbers.server.stages("numbers") if ".outside.3-" not in name]
    numbers.server.wait(
        lambda: not set(stages) & set(numbers.server.stages("numbers")), 60, "the stages of old versions are gone"
    )


def test_a_broken_version_gets_no_request_and_a_killed_control_goes_on(numbers: Numbers) -> None:
    inside, outside = numbers.serving()
    with numbers.load() as load:
        numbers.publish("inside", inside + 1, nonsense=True)
        numbers.publish("outside", outside + 1, nonsense=True)
        [(control, pid)] = numbers.server.replicas("millrace", "control").items()
        os.kill(pid, signal.SIGKILL)
        time.sleep(3)
        load.wait_for_more(50)
        assert numbers.serving() == (inside, outside)
        numbers.publish("inside", inside + 2)
        numbers.publish("outside", outside + 2)
        numbers.until(inside + 2, outside + 2)
        assert control not in numbers.server.replicas("millrace", "control")
    assert load.failures == []


def test_operators_roll_back_and_unload_under_load(numbers: Numbers) -> None:
    inside, outside = numbers.serving()
    numbers.publish("inside", inside + 1)
    numbers.until(inside + 1, outside)
    with numbers.load(forwards=False) as load:
        code, output = numbers.operate("rollback", "numbers.inside")
        assert code == 0, output
        assert f"numbers.inside: version {inside} has the traffic in every gateway" in output
        load.wait_for_more(20)
        assert numbers.serving() == (inside, outside)
        assert numbers.operate("load", "numbers.inside")[0] == 0
        assert numbers.serving() == (inside + 1, outside)
        assert numbers.operate("unload", "numbers.inside", inside + 1)[0] == 0
        assert numbers.serving() == (inside, outside)
        load.wait_for_more(20)
    assert load.failures == []


def test_only_operators_with_the_token_are_let_in(numbers: Numbers) -> None:
    code, output = numbers.operate("rollback", "numbers.inside", token="wrong")
    assert code == 1
    assert "does not take this token" in output
    assert numbers.server.request("/admin/servables").status == 401


def test_tables_take_over_under_load_and_half_of_one_is_never_seen(server: Server) -> None:
    folder, seen = server.folder / USERS, set()
    body = {"user": [lookups.KNOWN, lookups.UNKNOWN], "x": [[0, 0], [0, 0]]}

    def right(answer: dict) -> bool:
        (known, again), unknown = answer["version"]
        seen.add(known)
        return (known == again, unknown, answer["found"]) == (True, [lookups.LIVE] * 2, [True, False])

    with Load([http_client(f"{server.http}/users", body, right) for _ in range(4)]) as load:
        for number, cut in ((2, 3), (4, 5)):
            lookups.publish(folder, cut, cut=True)
            lookups.publish(folder, number)
            server.wait(lambda number=number: number in seen, 120, f"version {number} answers")
            load.wait_for_more(50)
    assert load.failures == []
    assert seen == {1, 2, 4}
