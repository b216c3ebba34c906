"""Publishing: all of a version or nothing, a number for each push, no leftovers."""

import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from configs.errors import ModelError
from servables import push
from servables.push import push_model
from servables.store import GREATEST, find_version, list_models, scan
from servables.versions import State, verify
from tests.support.graphs import NODES
from tests.support.server import ROOT
from tests.unit.servables import tiny_models

WRITER = """
import os, sys
from pathlib import Path
from servables.push import push_model

os.fsync = lambda handle: None  # what other processes see does not depend on it
folder, root = Path(sys.argv[1]), Path(sys.argv[2])
for number in range(1, 201):
    for name in ("model.txt", "a.bin", "z.bin"):
        (folder / name).write_bytes(b"%d" % number * 2000)
    push_model(folder, "polled", root, options=None)
"""
STUCK = """
import sys, time
from pathlib import Path
from servables.push import push_model

def stop(size, total):
    print("copying", flush=True)
    time.sleep(60)

push_model(Path(sys.argv[1]), "killed", Path(sys.argv[2]), options=None, progress=stop)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "model.txt").write_text("tree")
    return folder


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def start(code: str, *arguments: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def names(model: Path) -> list[str]:
    return sorted(path.name for path in model.iterdir())


def test_who_polls_never_sees_half_a_version(source: Path, models: Path) -> None:
    model = models / "polled"
    model.mkdir(parents=True)
    seen: set[int] = set()
    with start(WRITER, source, models) as writer:
        while 200 not in seen:
            assert writer.poll() in (None, 0)
            found = [each for each in scan(model, time.time()) if each.number is not None]
            assert {each.judgement.state for each in found} <= {State.WHOLE}
            if not found or found[0].number in seen:
                continue
            assert verify(found[0].path) is not None
            assert {(found[0].path / name).read_bytes() for name in ("model.txt", "a.bin", "z.bin")} == {
                b"%d" % found[0].number * 2000
            }
            seen.add(found[0].number)
    assert len(seen) > 5  # it did read while versions came
    assert names(model) == sorted(map(str, range(1, 201)))


def test_a_push_that_is_killed_leaves_nothing_that_counts(tmp_path: Path, source: Path, models: Path) -> None:
    (source / "model.txt").write_bytes(bytes(9 << 20))
    with start(STUCK, source, models) as pusher:
        assert pusher.stdout is not None
        assert pusher.stdout.readline() == "copying\n"
        [left] = list_models(models)
        assert (left.number, left.judgement.state) == (None, State.BROKEN)
        push_model(source, "killed", models, options=None)
        assert left.path.exists()  # its owner lives
        pusher.send_signal(signal.SIGKILL)
    assert left.path.exists()
    assert find_version(models / "killed").number == 1
    push_model(source, "killed", models, options=None)
    assert names(models / "killed") == ["1", "2"]


def test_pushes_at_the_same_time_get_a_number_each(source: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    with ThreadPoolExecutor(8) as pool:
        pushed = list(pool.map(lambda _: push_model(source, "m", models, options=None), range(40)))
    assert sorted(each.version.number for each in pushed) == list(range(1, 41))
    assert len(names(models / "m")) == 40


def test_one_of_two_pushes_of_the_same_number_is_refused(
    source: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = push.sync_folders

    def second_comes_first(folder: Path) -> None:
        monkeypatch.setattr(push, "sync_folders", sync)
        push_model(source, "m", models, 3, options=None)
        sync(folder)

    monkeypatch.setattr(push, "sync_folders", second_comes_first)
    with pytest.raises(ModelError, match="m/3 exists, and versions do not change; push without a number"):
        push_model(source, "m", models, 3, options=None)
    assert names(models / "m") == ["3"]
    assert push_model(source, "m", models, options=None).version.number == 4


def test_everything_is_on_the_disk_before_it_has_its_name(
    source: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "deep").mkdir()
    (source / "deep" / "x.bin").write_text("x")
    events: list[str] = []
    rename = Path.rename
    monkeypatch.setattr(os, "fsync", lambda handle: events.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name))
    monkeypatch.setattr(Path, "rename", lambda path, to: events.append("renamed") or rename(path, to))
    push_model(source, "m", models, options=None)
    before, after = events[: events.index("renamed")], events[events.index("renamed") + 1 :]
    assert sorted(before[:3]) == ["digests.json", "model.txt", "x.bin"]
    assert before[3] == "deep"
    assert before[4].startswith(".push-")
    assert after == ["m", "models"]


def test_the_next_number_follows_the_greatest_whatever_it_is(source: Path, models: Path) -> None:
    (models / "m" / "7").mkdir(parents=True)
    assert push_model(source, "m", models, options=None).version.number == 8
    assert push_model(source, "m", models, 3, options=None).version.number == 3
    (models / "m" / "12").symlink_to("nowhere")
    assert push_model(source, "m", models, options=None).version.number == 13
    assert push_model(source, "m", models, GREATEST, options=None).version.number == GREATEST
    with pytest.raises(ModelError, match="has the greatest number there is"):
        push_model(source, "m", models, options=None)


def test_equal_files_have_equal_digests_and_others_may_read_them(source: Path, models: Path, tmp_path: Path) -> None:
    first = push_model(source, "m", models, options=None)
    again = push_model(first.version.path, "n", models, options=None)
    single = push_model(source / "model.txt", "o", models, options=None)
    assert first.digests.digest == again.digests.digest == single.digests.digest
    assert first.digests.size == 4
    (source / "model.txt").write_text("eert")
    assert push_model(source, "m", models, options=None).digests.digest != first.digests.digest
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE(first.version.path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_damaged_version_is_not_pushed_on(source: Path, models: Path) -> None:
    path = push_model(source, "m", models, options=None).version.path
    (path / "model.txt").write_text("eert")
    with pytest.raises(ModelError, match=r"m/1/model.txt is damaged: it is not what its digests.json says"):
        push_model(path, "n", models, options=None)
    assert names(models) == ["m"]


def test_it_is_loaded_before_it_is_published(source: Path, models: Path) -> None:
    with pytest.raises(ModelError, match=r"source/model.txt is not a LightGBM model.*nothing was published"):
        push_model(source, "m", models)
    with pytest.raises(ModelError, match=r"source/model.txt is not a LightGBM model.*nothing was published"):
        push_model(source / "model.txt", "m", models)
    (source / "model.txt").rename(source / "notes.md")
    with pytest.raises(ModelError, match=r"source holds digests.json, notes.md: no model of a known format"):
        push_model(source, "m", models, options=None)
    with pytest.raises(ModelError, match="format 'tensorflow' is unknown"):
        push_model(source, "m", models, format="tensorflow", options=None)
    assert not (models / "m").exists()


def test_a_warmup_that_does_not_fit_is_told_at_once(source: Path, models: Path) -> None:
    (source / "model.txt").unlink()
    (source / "signature.json").write_text(f'{{"module": "{NODES}Add"}}')
    (source / "warmup.json").write_text('{"z": [[1, 2]]}')
    with pytest.raises(ModelError, match=r"source/warmup.json gives z; give rows for x .nothing was published"):
        push_model(source, "m", models)
    (source / "warmup.json").write_text('{"x": [[1, 2]]}')
    assert push_model(source, "m", models).version.number == 1


def test_a_model_that_writes_into_its_folder_is_refused(source: Path, models: Path) -> None:
    (source / "model.txt").unlink()
    (source / "signature.json").write_text(f'{{"module": "{tiny_models.PATH}:Scribbler"}}')
    with pytest.raises(ModelError, match=r"cache\.bin was not pushed with it"):
        push_model(source, "m", models)


def test_a_file_that_grows_while_it_is_copied_is_refused(source: Path, models: Path) -> None:
    def grow(size: int, total: int) -> None:
        with (source / "model.txt").open("a") as file:
            file.write("more")

    with pytest.raises(ModelError, match=r"model\.txt changed while it was copied"):
        push_model(source, "m", models, options=None, progress=grow)


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "/etc", ".hidden", "a\n", "a b", "-x", "ä", "x" * 129])
def test_bad_names(source: Path, models: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name"):
        push_model(source, name, models, options=None)
    assert not models.exists()


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
def test_bad_numbers(source: Path, models: Path, number: int) -> None:
    with pytest.raises(ModelError, match=f"version {number}: a version is a number from 0 to {GREATEST}"):
        push_model(source, "m", models, number, options=None)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda folder: (folder / "model.txt").unlink(), "source is empty"),
        (lambda folder: (folder / "more.bin.part").touch(), "more.bin.part is still being written"),
        (lambda folder: (folder / "secret").symlink_to("/etc/shadow"), "leads out of the version, to /etc/shadow"),
        (lambda folder: (folder / "a\udcff\n").touch(), "is not printable text; rename it"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe is neither a file nor a folder"),
    ],
)
def test_bad_sources(source: Path, models: Path, prepare, reason: str) -> None:
    prepare(source)
    with pytest.raises(ModelError, match=reason):
        push_model(source, "m", models, options=None)
    assert not models.exists()


def test_sources_and_folders_that_cannot_be_used(source: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="gone does not exist; name the model's file, or a folder"):
        push_model(source / "gone", "m", models, options=None)
    models.mkdir()
    (models / "m").touch()
    with pytest.raises(ModelError, match="Not a directory; nothing was published"):
        push_model(source, "m", models, options=None)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match="n: No space left on device; nothing was published"):
        push_model(source, "n", models, options=None)
    assert names(models) == ["m"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(source: Path, models: Path) -> None:
    (source / "model.txt").chmod(0)
    with pytest.raises(ModelError, match=r"model\.txt: Permission denied; nothing was published"):
        push_model(source, "m", models, options=None)
