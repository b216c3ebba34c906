"""docs/models.md: its commands and Python run, in order, in an empty folder, and print what the page shows."""

import re
import shlex
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli.versions
from cli import models, takeover
from cli.admin_client import AdminClient
from cli.main import app
from configs.errors import MillraceError
from servables import versions
from servables.base import LoadOptions
from servables.files import TEMPORARY
from servables.load import load_servable
from servables.store import scan
from servables.versions import (
    QUIET_S,  # before the unit tests set it to 0
    State,
)
from tests.unit.cli.versions_server import VersionsServer

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
BLOCK = re.compile(r"<!-- test: run this -->\n```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text()
    assert f"nothing in it has changed for {QUIET_S:g} s, and no name in it ends in `.part`, `.tmp`" in text
    assert {".part", ".tmp"} < set(TEMPORARY)
    monkeypatch.setattr(versions, "QUIET_S", QUIET_S)
    monkeypatch.setattr(takeover, "POLL_S", 0.02)
    monkeypatch.setattr(models.out, "width", 200)
    monkeypatch.setattr(cli.versions.out, "width", 400)
    monkeypatch.delenv("MILLRACE_ADMIN_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(text)
    with VersionsServer(Path(), "garden.iris", published, load) as server:
        monkeypatch.setattr(cli.versions, "AdminClient", partial(moved, server.url))
        for language, code in blocks:
            if language == "python":
                exec(compile(code, str(PAGE), "exec"), {})
            else:
                for command in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
                    check(*command.replace(URL, server.url).split("\n", 1))
    assert len(blocks) == 13


FLOWERS = Path("models/flowers")
URL = "http://127.0.0.1:8000"


def moved(to: str, url: str, token: str | None) -> AdminClient:
    """A client of this test's server in place of the one on the page."""
    assert url == URL
    return AdminClient(to, token)


def published() -> dict[int, str]:
    """The whole versions of the page's second model."""
    found = scan(FLOWERS, time.time()) if FLOWERS.exists() else []
    whole = [each for each in found if each.judgement.state is State.WHOLE]
    return {each.number: each.judgement.fingerprint for each in whole if each.number is not None}


def load(number: int) -> None:
    """Load one of them."""
    load_servable(FLOWERS / str(number), LoadOptions())


def check(command: str, shown: str) -> None:
    """Run a command and compare its output, without borders of tables; `…` stands for anything.

    What a server's status says comes true within seconds.
    """
    words = (".*?" if word == "…" else re.escape(word).replace("…", ".+?") for word in shown.split())
    pattern = r"\s*".join(words)
    until = time.monotonic() + (60 if "models status" in command or "models history" in command else 0)
    while True:
        printed = "\n".join(line for line in run(command).splitlines() if line[:1] not in "┏┡└")
        if re.fullmatch(pattern, printed.strip(), re.DOTALL):
            return
        assert time.monotonic() < until, f"$ {command}\n{printed}"
        time.sleep(0.05)


def run(command: str) -> str:
    """What a command prints; those that are not ours run in a shell."""
    if not command.startswith("millrace "):
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    if isinstance(result.exception, MillraceError):
        return f"{result.output}error: {result.exception.message}"
    assert result.exit_code in (0, 1), result.output
    return result.output
