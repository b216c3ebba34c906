"""`millrace models status|history|load|rollback|unload` against a server's real admin API."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cli import takeover, versions
from configs.errors import MillraceError, ModelError, Unauthorized, Unavailable
from tests.unit.cli.test_cli import millrace
from tests.unit.cli.versions_server import VersionsServer

NAME = "g.cnn"


class Shop:
    """A server of the versions 1, 2, 3, of which 2 and then 3 had the traffic, and the commands for it."""

    def __init__(self, root: Path) -> None:
        self.published = dict.fromkeys((1, 2, 3), "a")
        self.broken = set[int]()
        self.server = VersionsServer(root, NAME, lambda: dict(self.published), self.load)

    def load(self, number: int) -> None:
        if number in self.broken:
            raise ModelError(f"version {number} is broken")

    def run(self, command: str, *arguments: object) -> str:
        url, token = self.server.url, self.server.token
        code, output = millrace("models", command, *arguments, "--url", url, "--token", token)
        assert code == 0, output
        return output

    def serving(self, *arguments: object) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run("status", NAME, "--json"))[0]
        return found


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(takeover, "POLL_S", 0.02)
    monkeypatch.setattr(versions.out, "width", 200)
    monkeypatch.delenv("MILLRACE_ADMIN_TOKEN", raising=False)
    shop = Shop(tmp_path)
    with shop.server:
        shop.server.wait_until_routed()
        shop.run("load", NAME, 2)
        shop.run("load", NAME)
        yield shop


def test_status_and_history(shop: Shop) -> None:
    shop.run("load", NAME, 2)
    shop.run("unload", NAME, 1)
    output = shop.run("status")
    day = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.search(rf"│ g.cnn +│ +3 │ (draining|unload\w+) +│ +│ {day} │", output)
    assert re.search(rf"│ g.cnn +│ +2 │ routed +│ yes +│ {day} │ pinned +│", output)
    assert re.search(rf"│ g.cnn +│ +1 │ discovered +│ +│ {day} │ taken out +│", output)
    assert "g.cnn is pinned to version 2; `millrace models load g.cnn` goes back to the policy (latest 1)." in output
    assert shop.serving()["version"] == 2
    assert re.search(rf"│ {day} │ +2 │ ready +│ routed +│", shop.run("history", NAME, "--limit", 50))
    [last] = json.loads(shop.run("history", NAME, "--limit", 1, "--json"))
    assert last["after"] in ("draining", "unloading", "unloaded")


def test_changes_show_the_phases_and_end_when_every_gateway_follows(shop: Shop) -> None:
    output = shop.run("load", NAME, 1)
    phases = re.findall(r"^version 1: ([a-z ]+)$", output, re.MULTILINE)
    assert phases == ["fetched", "verified", "loaded", "warmed up", "ready", "routed"]
    assert re.search(r"^g.cnn: version 1 has the traffic in every gateway \(\d+\.\d s\)$", output, re.MULTILINE)
    assert "g.cnn: version 3 has the traffic" in shop.run("rollback", NAME)
    assert "g.cnn: version 3 has the traffic" in shop.run("rollback", NAME, "--from", 1)
    assert "g.cnn: version 3 has the traffic" in shop.run("load", NAME)
    output = shop.run("unload", NAME, 3)
    assert "version 3: unloaded" in output
    assert "g.cnn: version 3 is taken out; version 2 has the traffic in every gateway" in output


def test_a_broken_version_is_an_error_with_its_reason(shop: Shop) -> None:
    shop.broken.add(1)
    with pytest.raises(MillraceError) as raised:
        shop.run("load", NAME, 1)
    assert raised.value.message == (
        "g.cnn version 1 failed: load: version 1 is broken\n"
        "version 3 has the traffic; version 1 is tried again with growing pauses; `millrace models load g.cnn` gives "
        "that up"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "x"), "there is no servable 'x'; this server has g.cnn"),
        (("load", "a/b?c"), "there is no servable"),
        (("load", NAME, 9), "g.cnn has no version 9; published or in memory: 3, 2, 1"),
        (("unload", NAME, 9), "g.cnn has no version 9"),
    ],
)
def test_what_the_server_refuses_is_said(shop: Shop, arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(MillraceError, match=re.escape(words)):
        shop.run(*map(str, arguments))


def test_the_token_comes_from_the_environment_or_the_folder(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = "models", "status", "--url", shop.server.url
    monkeypatch.chdir(tmp_path)
    assert millrace(*asked)[0] == 0
    monkeypatch.setenv("MILLRACE_ADMIN_TOKEN", "wrong")
    with pytest.raises(Unauthorized, match=r"does not take this token; give the server's by --token") as raised:
        millrace(*asked)
    assert "wrong" not in raised.value.message
    monkeypatch.setenv("MILLRACE_ADMIN_TOKEN", shop.server.token)
    (tmp_path / ".millrace" / "admin.token").unlink()
    assert millrace(*asked)[0] == 0
    monkeypatch.delenv("MILLRACE_ADMIN_TOKEN")
    with pytest.raises(MillraceError, match="no admin token: give it by --token or MILLRACE_ADMIN_TOKEN"):
        millrace(*asked)


@pytest.fixture
def foreign() -> Iterator[Callable[[int, str], str]]:
    """Starts a server that answers everything in the same way."""
    servers: list[HTTPServer] = []

    def start(status: int, location: str, body: str = "<html>") -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("location", location)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[0].serve_forever).start()
        return f"http://127.0.0.1:{servers[0].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status", [200, 307, 404])
def test_another_server_is_told_from_ours_and_gets_the_token_nowhere_else(
    foreign: Callable[[int, str], str], status: int
) -> None:
    url = foreign(status, "http://127.0.0.1:1/")
    with pytest.raises(MillraceError, match=f"{url} is no Millrace server with an admin API"):
        millrace("models", "status", "--url", url, "--token", "t")


@pytest.mark.parametrize("command", [("status",), ("status", NAME), ("history", NAME), ("load", NAME, 1)])
@pytest.mark.parametrize(
    "body", ["[]", "{}", "3", '{"servables": [{}], "history": [{}]}', '{"servables": 1, "history": 1}']
)
def test_json_of_another_server(foreign: Callable[..., str], command: tuple[object, ...], body: str) -> None:
    url = foreign(200, "", body)
    with pytest.raises(MillraceError, match=f"{url} is no Millrace server with an admin API"):
        millrace("models", *command, "--url", url, "--token", "t")


def test_the_token_goes_to_no_proxy(foreign: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", foreign(200, "", '{"servables": []}'))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(Unavailable, match="no server answers"):
        millrace("models", "status", "--url", "http://millrace.invalid:1", "--token", "t")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "http://[::1", "--token", "t"), "write it as http://host:port"),
        (("--url", "http://a:b", "--token", "t"), "write it as http://host:port"),
        (("--url", "http://", "--token", "t"), "write it as http://host:port"),
        (("--url", "http://127.0.0.1:1", "--token", "t"), "no server answers at http://127.0.0.1:1 (.*refused)"),
        (("--url", "file:///etc/passwd", "--token", "t"), "write it as http://host:port"),
        (("--token", "t\u00fc"), "the token has characters that no token has"),
    ],
)
def test_what_cannot_be_asked(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(MillraceError, match=words.replace("(", r"\(").replace(")", r"\)")):
        millrace("models", "status", *arguments)


def test_a_server_that_is_away_for_a_moment_is_asked_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    look, fails = takeover.Takeover._look, [True, True]

    def sometimes(self: takeover.Takeover, target: int) -> object:
        if fails:
            fails.pop()
            raise Unavailable("away")
        return look(self, target)

    monkeypatch.setattr(takeover.Takeover, "_look", sometimes)
    assert "version 1 has the traffic" in shop.run("load", NAME, 1)
    fails.append(True)
    monkeypatch.setattr(takeover, "AWAY_S", -1)
    with pytest.raises(Unavailable, match="away"):
        shop.run("load", NAME)
