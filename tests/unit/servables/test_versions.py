"""What counts as a whole version: names, sizes, quiet time, links, digests."""

import json
import logging
import os
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import ModelError
from servables import versions
from servables.digests import Digests
from servables.load import load_servable
from servables.push import push_model
from servables.store import find_version, list_models, scan, verify_model
from servables.versions import State, judge, verify
from tests.unit.servables import tiny_models
from tests.unit.servables.conftest import OPTIONS


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with version 1, pushed: a Python class that adds 1.5."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "signature.json").write_text(json.dumps({"module": f"{tiny_models.PATH}:Shifted"}))
    (source / "shift.csv").write_text("1.5")
    (source / "deep").mkdir()
    (source / "deep" / "notes.txt").write_text("notes")
    push_model(source, "tiny", tmp_path / "models")
    return tmp_path / "models" / "tiny"


def foreign(model: Path, number: int) -> Path:
    """A version that somebody copied, without digests."""
    folder = model / str(number)
    shutil.copytree(model / "1", folder)
    (folder / "digests.json").unlink()
    return folder


def age(folder: Path, seconds: float) -> float:
    """A time at which the folder's last change is so many seconds ago."""
    return max(path.stat().st_ctime for path in [folder, *folder.rglob("*")]) + seconds


def test_a_pushed_version_is_whole_at_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "QUIET_S", 5.0)
    judgement = judge(model / "1", age(model / "1", 0))
    assert judgement.state is State.WHOLE
    assert judgement.digests == Digests.model_validate_json((model / "1" / "digests.json").read_bytes())
    assert set(judgement.digests.files) == {"signature.json", "shift.csv", "deep/notes.txt"}


@pytest.mark.parametrize(("seconds", "state"), [(4.9, State.WAITING), (5.1, State.WHOLE), (-30, State.WAITING)])
def test_a_foreign_version_counts_when_it_is_quiet(
    model: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, state: State
) -> None:
    monkeypatch.setattr(versions, "QUIET_S", 5.0)
    folder = foreign(model, 2)
    for path in folder.rglob("*"):
        os.utime(path, (0, 0))  # as `cp -p` and `rsync -t` do
    assert judge(folder, age(folder, seconds)).state is state


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "shift.csv").unlink(), "shift.csv is missing"),
        (lambda folder: (folder / "shift.csv").write_text("1"), "shift.csv has 1 of 3 bytes"),
        (lambda folder: (folder / "b.onnx").touch(), "b.onnx was not pushed with it"),
        (lambda folder: (folder / "digests.json").write_text("{"), "digests.json is not a list of digests"),
        (lambda folder: (folder / "digests.json").write_text('{"files": {}}'), "should have at least 1 item"),
        (lambda folder: (folder / "data").symlink_to("/etc/passwd"), "leads out of the version, to /etc/passwd"),
        (lambda folder: (folder / "data").symlink_to("deep"), "data is a link to a folder"),
        (lambda folder: (folder / "data").symlink_to("nothing"), "data cannot be read: No such file"),
        (lambda folder: (folder / "data").symlink_to("data"), "data cannot be read: Too many levels"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe is neither a file nor a folder"),
    ],
)
def test_what_is_not_whole_is_passed_over_never_loaded_and_says_why(model: Path, change, reason: str) -> None:
    shutil.copytree(model / "1", model / "2")
    change(model / "2")
    assert find_version(model).number == 1
    for use in (lambda: find_version(model, 2), lambda: load_servable(model / "2", OPTIONS)):
        with pytest.raises(ModelError, match=reason):
            use()
    shutil.rmtree(model / "1")
    with pytest.raises(ModelError, match=rf"holds no whole version: .*{reason}"):
        find_version(model)


@pytest.mark.parametrize("name", ["model.onnx.part", "deep/x.TMP", ".model.onnx.partial", "m.crdownload"])
def test_a_temporary_name_inside_means_somebody_writes(model: Path, name: str) -> None:
    (foreign(model, 2) / name).touch()
    with pytest.raises(ModelError, match=f"{name} is still being written"):
        load_servable(model / "2", OPTIONS)
    assert find_version(model).number == 1


def test_hidden_files_and_caches_beside_a_pushed_version_do_not_matter(model: Path) -> None:
    (model / "1" / "__pycache__").mkdir()
    for name in (".DS_Store", "deep/.nfs0001", "__pycache__/m.pyc"):
        (model / "1" / name).touch()
    assert verify(model / "1") is not None


def test_a_socket_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("door")
        assert judge(Path.cwd(), 0).reason.endswith("door is neither a file nor a folder; remove it")


def test_links_of_a_kubernetes_volume_are_followed(model: Path) -> None:
    folder = foreign(model, 2)
    (folder / "..2026").mkdir()
    (folder / "shift.csv").rename(folder / "..2026" / "shift.csv")
    (folder / "..data").symlink_to("..2026")
    (folder / "shift.csv").symlink_to("..data/shift.csv")
    assert judge(folder, age(folder, 10)).state is State.WHOLE
    load_servable(folder, OPTIONS).close()


def test_a_flipped_byte_is_found_when_the_version_is_loaded(model: Path) -> None:
    (model / "1" / "shift.csv").write_text("1.6")
    assert find_version(model).number == 1
    with pytest.raises(ModelError, match=r"tiny/1/shift\.csv is damaged: its SHA-256 is .* push the model again"):
        load_servable(model / "1", OPTIONS)
    assert "shift.csv is damaged" in verify_model("tiny", 1, model.parent)[1]


@given(position=st.integers(0, 4095), flip=st.integers(1, 255))
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, position: int, flip: int) -> None:
    root = tmp_path_factory.mktemp("models")
    (root / "model.txt").write_bytes(bytes(4096))
    path = push_model(root / "model.txt", "m", root, options=None).version.path
    changed = bytearray(4096)
    changed[position] = flip
    (path / "model.txt").write_bytes(changed)
    with pytest.raises(ModelError, match=r"model\.txt is damaged"):
        verify(path)


def test_finding_waits_for_the_newest_to_be_quiet(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(versions, "QUIET_S", 5.0)
    now = [age(foreign(model, 2), 1.0)]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds + 0.01

    with caplog.at_level(logging.WARNING):
        assert find_version(model, None, lambda: now[0], sleep).number == 2
    assert slept == [pytest.approx(4.0, abs=0.1)]
    assert "2 changed 1.0 s ago; without digests it counts after 5 s; waiting for that" in caplog.text
    assert find_version(model, None, lambda: now[0], sleep).number == 2
    assert len(slept) == 1


def test_a_version_that_never_gets_quiet_is_passed_over_with_a_warning(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(versions, "QUIET_S", 5.0)
    now = age(foreign(model, 2), 1.0)
    slept: list[float] = []
    with caplog.at_level(logging.WARNING):
        assert find_version(model, None, lambda: now, slept.append).number == 1
    assert len(slept) == 1
    assert "version 1 of tiny is used instead of a newer one" in caplog.messages[-1]
    assert find_version(model, 2, lambda: now, slept.append).number == 2
    assert len(slept) == 1
    shutil.rmtree(model / "1")
    with pytest.raises(ModelError, match=r"no whole version: .*2 changed 1\.0 s ago"):
        find_version(model, None, lambda: now, slept.append)


def test_what_is_broken_is_not_waited_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "QUIET_S", 5.0)
    (foreign(model, 2) / "model.onnx.part").touch()
    slept: list[float] = []
    assert find_version(model, None, lambda: age(model / "2", 0), slept.append).number == 1
    assert slept == []


def test_lists_are_newest_first_and_name_what_is_temporary(model: Path) -> None:
    foreign(model, 10)
    for name in ("11.tmp", ".push-dead", "notes", "07", "99999999999999999999", "9223372036854775808"):
        (model / name).mkdir()
    (model.parent / ".cache").mkdir()
    found = list_models(model.parent)
    assert [(each.model, each.number) for each in found] == [("tiny", 10), ("tiny", 1), ("tiny", None), ("tiny", None)]
    assert [each.path.name for each in found[2:]] == [".push-dead", "11.tmp"]
    assert [each.judgement.state for each in found] == [State.WHOLE, State.WHOLE, State.BROKEN, State.BROKEN]


def test_a_folder_that_vanishes_while_it_is_read_is_not_whole(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = versions.tree

    def vanishing(folder: Path) -> dict[str, os.stat_result]:
        shutil.rmtree(folder)
        return read(folder)

    monkeypatch.setattr(versions, "tree", vanishing)
    [found] = scan(model, 0)
    assert found.judgement.state is State.BROKEN
    assert "cannot be read: No such file" in found.judgement.reason


def test_verify_says_what_it_cannot_compare(model: Path) -> None:
    foreign(model, 2)
    problems = verify_model("tiny", None, model.parent)
    assert problems[1] == ""
    assert "carries no digests" in problems[2]
    with pytest.raises(ModelError, match=r"3 is not a folder; versions of .*: 1, 2"):
        verify_model("tiny", 3, model.parent)
