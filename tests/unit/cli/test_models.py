"""`millrace models`: push, list, verify."""

import json
import re
from pathlib import Path

import pytest

from cli import models
from configs.errors import ModelError
from tests.support.graphs import NODES
from tests.unit.cli.test_cli import millrace


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "signature.json").write_text(f'{{"module": "{NODES}Add"}}')
    return folder


def test_push_says_what_was_published_and_what_to_do_next(source: Path, tmp_path: Path) -> None:
    code, output = millrace("models", "push", source, "adder", "--root", tmp_path / "models")
    assert code == 0
    path = tmp_path / "models" / "adder"
    assert re.search(rf"adder version 1 is published: {path}/1 \(python, \d+ bytes, sha256 [0-9a-f]{{12}}\)", output)
    assert f"`model: {path}`" in output
    assert millrace("models", "push", source, "adder", "--root", tmp_path / "models", "--version", 7)[0] == 0
    output = millrace("models", "push", source, "adder", "--root", tmp_path / "models", "--version", 2)[1]
    assert "Version 7 is newer; a node serves this one with `version: 2`." in output


def test_push_refuses_what_does_not_load_unless_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07 not a model")
    push = ("models", "push", tmp_path / "model.onnx", "m", "--root", tmp_path / "models")
    with pytest.raises(ModelError, match=r"model.onnx does not load in onnxruntime.*\(nothing was published\)"):
        millrace(*push)
    assert millrace("models", "list", "--root", tmp_path)[1].startswith(f"{tmp_path} holds no versions; publish one:")
    assert millrace(*push, "--no-load")[0] == 0
    with pytest.raises(ModelError, match="--trust yes: the only value is `pickle`"):
        millrace(*push, "--trust", "yes")
    assert millrace(*push, "--version", "two")[0] == 2


def test_push_of_a_pickle_needs_trust(tmp_path: Path) -> None:
    import joblib
    from sklearn.linear_model import LinearRegression

    joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / "model.joblib")
    push = ("models", "push", tmp_path / "model.joblib", "m", "--root", tmp_path / "models")
    with pytest.raises(ModelError, match="trust: pickle"):
        millrace(*push)
    assert "(sklearn, " in millrace(*push, "--trust", "pickle")[1]


def test_large_copies_tell_how_far_they_are(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "LARGE_BYTES", 1 << 20)
    monkeypatch.setattr("servables.push._CHUNK", 1 << 18)
    (source / "weights.bin").write_bytes(bytes(2 << 20))
    output = millrace("models", "push", source, "adder", "--root", tmp_path / "models")[1]
    assert [line for line in output.splitlines() if line.startswith("copied")] == [
        f"copied {size} of 2.1 MB" for size in ("524.3 kB", "1.0 MB", "1.6 MB", "2.1 MB")
    ]


def test_list_shows_every_state(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "models"
    millrace("models", "push", source, "adder", "--root", root)
    monkeypatch.setattr("servables.versions.QUIET_S", 3600.0)
    (root / "adder" / "2").mkdir()
    (root / "adder" / "2" / "model.onnx").write_text("x")
    (root / "adder" / "3").mkdir()
    (root / "adder" / "4.tmp").mkdir()
    monkeypatch.setattr(models.out, "width", 200)
    code, table = millrace("models", "list", "--root", root)
    assert code == 0
    for row in (
        r"adder │ +3 │ +│ +│ +│ not whole: is empty; put",
        r"adder │ +2 │ onnx +│ +1 byte │ +│ waiting: changed \d\.\d s ago; without digests it counts after 3600 s",
        r"adder │ +1 │ python +│ +\d+ bytes │ [0-9a-f]{12} │ whole",
        r"adder │ +4\.tmp │ +│ +│ +│ not whole: is being written",
    ):
        assert re.search(row, table), table
    code, output = millrace("models", "list", "--root", root, "--json")
    found = json.loads(output)
    assert [(each["version"], each["state"]) for each in found] == [
        (3, "not whole"), (2, "waiting"), (1, "whole"), (None, "not whole")
    ]  # fmt: skip
    assert found[2]["path"] == str(root / "adder" / "1")
    assert len(found[2]["sha256"]) == 64
    with pytest.raises(ModelError, match="gone cannot be read: No such file or directory; name the folder of all"):
        millrace("models", "list", "--root", root / "gone")


def test_verify_fails_where_a_version_is_not_what_was_pushed(source: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    for _ in range(2):
        millrace("models", "push", source, "adder", "--root", root)
    assert millrace("models", "verify", "adder", "--root", root) == (0, "✓ adder 2\n✓ adder 1\n")
    file = root / "adder" / "2" / "signature.json"
    file.write_text(file.read_text().upper())
    code, output = millrace("models", "verify", "adder", "--root", root)
    assert code == 1
    assert "✗ adder 2" in output
    assert f"{file} is damaged" in output
    assert millrace("models", "verify", "adder", 1, "--root", root)[0] == 0
    for arguments, words in ((("adder", 3), "3 is not a folder"), (("../adder",), "cannot be a model's name")):
        with pytest.raises(ModelError, match=words):
            millrace("models", "verify", *arguments, "--root", root)
