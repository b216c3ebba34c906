"""docs/models.md: its commands and Python run, in order, in an empty folder, and print what the page shows."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from cli import models
from configs.errors import MillraceError
from servables import versions
from servables.files import TEMPORARY
from servables.versions import QUIET_S  # before the unit tests set it to 0
from tests.unit.cli.test_cli import millrace

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
BLOCK = re.compile(r"<!-- test: run this -->\n```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text()
    assert f"nothing in it has changed for {QUIET_S:g} s, and no name in it ends in `.part`, `.tmp`" in text
    assert {".part", ".tmp"} < set(TEMPORARY)
    monkeypatch.setattr(versions, "QUIET_S", QUIET_S)
    monkeypatch.setattr(models.out, "width", 200)
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(text)
    for language, code in blocks:
        if language == "python":
            exec(compile(code, str(PAGE), "exec"), {})
        else:
            for command in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
                check(*command.split("\n", 1))
    assert len(blocks) == 5


def check(command: str, shown: str) -> None:
    """Run a command and compare its output, without borders of tables; `…` stands for anything."""
    pattern = r"\s*".join(re.escape(word).replace("…", ".+?") for word in shown.split())
    printed = "\n".join(line for line in run(command).splitlines() if line[:1] not in "┏┡└")
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"$ {command}\n{printed}"


def run(command: str) -> str:
    """What a command prints; those that are not ours run in a shell."""
    if not command.startswith("millrace "):
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    try:
        return millrace(*shlex.split(command)[1:])[1]
    except MillraceError as error:
        return f"error: {error.message}"
