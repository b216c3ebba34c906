"""What is fetched is whole and what was published, or nothing; one of several processes fetches it."""

import errno
import fcntl
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ModelError
from rollouts.keeper import AT_ONCE
from servables.digests import Digests
from servables.sources import fetched
from servables.sources.base import Progress, Published
from servables.sources.fetched import KEPT, Fetched
from servables.sources.named import is_remote, source_of
from servables.sources.url import Url
from servables.versions import verify
from tests.support.server import ROOT
from tests.unit.servables.sources.conftest import Push

FINGERPRINT = "0123456789abcdef"


class Text:
    """A remote source of one version, whose file is a text."""

    place = "text:"

    def __init__(self, text: str = "tree") -> None:
        self.text, self.fingerprint = text, FINGERPRINT
        self.downloads: list[int] = []

    def prepare(self) -> None:
        pass

    def published(self, now: float) -> Published:
        return Published(dict.fromkeys(range(1, 10), self.fingerprint))

    def download(self, number: int, folder: Path, progress: Progress) -> None:
        self.downloads.append(number)
        (folder / "model.txt").write_text(self.text)


def names(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_a_version_is_fetched_once_and_carries_digests(tmp_path: Path) -> None:
    remote = Text()
    for _ in range(3):
        version = Fetched(remote, tmp_path).local(2)
        version.release()
    assert version.path == tmp_path / f"2-{FINGERPRINT[:12]}"
    assert remote.downloads == [2]
    assert verify(version.path) is not None
    assert names(tmp_path) == [version.path.name]


def test_the_newest_unless_told(tmp_path: Path) -> None:
    newest = Fetched(Text(), tmp_path).local()
    newest.release()
    assert newest.number == 9
    with pytest.raises(ModelError, match=r"text: has no version 12; there are: 1, 2, .*9"):
        Fetched(Text(), tmp_path).local(12)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class Broken(Text):
        def download(self, number: int, folder: Path, progress: Progress) -> None:
            super().download(number, folder, progress)
            raise ModelError("the line broke")

    with pytest.raises(ModelError, match="the line broke"):
        Fetched(Broken(), tmp_path).local(1)
    assert names(tmp_path) == []


def test_what_changes_while_it_is_fetched_is_not_kept(tmp_path: Path) -> None:
    class Changing(Text):
        def download(self, number: int, folder: Path, progress: Progress) -> None:
            super().download(number, folder, progress)
            self.fingerprint = "f" * 16

    with pytest.raises(ModelError, match="no longer has the version 1"):
        Fetched(Changing(), tmp_path).local(1)
    assert names(tmp_path) == []


def test_what_was_damaged_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    remote = Text()
    version = Fetched(remote, tmp_path).local(1)
    version.release()
    (version.path / "model.txt").write_text("half")
    (version.path / "more.txt").write_text("what was not pushed")
    Fetched(remote, tmp_path).local(1).release()
    assert remote.downloads == [1, 1]
    (version.path / "model.txt").write_text("teer")  # as long as what it was
    with pytest.raises(ModelError, match="is damaged"):
        verify(version.path)
    source = Fetched(remote, tmp_path)
    source.forget(1, FINGERPRINT[:12])
    source.local(1).release()
    assert verify(version.path) is not None


def test_what_lost_its_digests_is_fetched_again(tmp_path: Path) -> None:
    remote = Text()
    version = Fetched(remote, tmp_path).local(1)
    version.release()
    (version.path / "digests.json").unlink()
    Fetched(remote, tmp_path).local(1).release()
    assert verify(version.path) is not None
    assert names(tmp_path) == [version.path.name]


def test_of_two_that_fetch_the_same_the_first_to_end_wins(tmp_path: Path) -> None:
    class Slow(Text):
        def download(self, number: int, folder: Path, progress: Progress) -> None:
            super().download(number, folder, progress)
            (tmp_path / f".{number}-{FINGERPRINT[:12]}.lock").unlink(missing_ok=True)  # as where locks do not work
            if not faster.downloads:
                Fetched(faster, tmp_path).local(number).release()

    faster = Text("of the faster one")
    version = Fetched(Slow(), tmp_path).local(1)
    version.release()
    assert (version.path / "model.txt").read_text() == "of the faster one"
    assert names(tmp_path) == [version.path.name]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ESTALE])
def test_an_error_that_passes_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = Fetched(Text(), tmp_path)
    version = source.local(1)
    version.release()

    def fails(_folder: Path) -> None:
        raise ModelError("it cannot be read") from OSError(number, "passes")

    with monkeypatch.context() as patch:
        patch.setattr(fetched, "read_contents", fails)
        with pytest.raises(ModelError, match="it cannot be read"):
            source.local(1)
        patch.setattr(fcntl, "flock", lambda *_: fails_at_once(number))
        with pytest.raises(ModelError, match=r"could not be fetched to .*: passes"):
            source.local(1)
    assert verify(version.path) is not None


def fails_at_once(number: int) -> None:
    raise OSError(number, "passes")


def test_a_lock_whose_file_is_gone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Fetched(Text(), tmp_path)
    version, flock, in_use = source.local(1), fcntl.flock, []
    version.release()

    def removed_while_it_waits(handle: Any, how: int) -> None:
        flock(handle, how)
        if not in_use and how & fcntl.LOCK_EX:
            version.path.rename(tmp_path / "gone")
            monkeypatch.setattr(fcntl, "flock", flock)
            in_use.append(Fetched(Text("another"), tmp_path).local(1))

    monkeypatch.setattr(fcntl, "flock", removed_while_it_waits)
    source.forget(1, FINGERPRINT[:12])
    assert (version.path / "model.txt").read_text() == "another"
    in_use[0].release()


def test_the_lock_of_a_fetch_is_taken_again_if_its_file_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flock, times = tmp_path / "lock", fcntl.flock, []

    def removed_while_it_waits(handle: Any, how: int) -> None:
        flock(handle, how)
        times.append(how)
        if len(times) == 1:
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", removed_while_it_waits)
    with fetched._alone(path):
        assert path.exists()
    assert (len(times), path.exists()) == (2, False)


def test_those_used_last_stay_and_those_in_use(tmp_path: Path) -> None:
    source = Fetched(Text(), tmp_path)
    used = source.local(1)
    for number in range(2, 9):
        source.local(number).release()
    left = [int(name.partition("-")[0]) for name in names(tmp_path)]
    assert left == [1, *range(9 - KEPT, 9)]
    used.release()
    source.local(9).release()
    assert not used.path.exists()
    assert KEPT > AT_ONCE


def test_a_content_is_found_in_the_cache_while_the_source_is_away(tmp_path: Path) -> None:
    remote = Text()
    Fetched(remote, tmp_path).local(1).release()
    remote.fingerprint = "f" * 16
    source = Fetched(remote, tmp_path)
    assert source.content_of(1, FINGERPRINT.startswith) == FINGERPRINT[:12]
    with pytest.raises(ModelError, match="has another version 1 now"):
        source.content_of(1, "e".startswith)


FETCH = """
import sys
from pathlib import Path
from servables.sources.fetched import Fetched
from servables.sources.url import Url

class Loud(Url):
    def download(self, *arguments):
        print("downloads")
        super().download(*arguments)

sys.stdin.readline()
print(Fetched(Loud(sys.argv[1]), Path(sys.argv[2])).local().path)
"""


def test_of_several_processes_one_fetches(store: Path, push: Push, tmp_path: Path) -> None:
    push(1, "tree" * 100_000)
    command = [sys.executable, "-c", FETCH, f"file://{store}/m", str(tmp_path / "cache")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in processes:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    printed = [process.communicate()[0].split() for process in processes]
    (folder,) = {lines[-1] for lines in printed}
    assert sum("downloads" in lines for lines in printed) == 1
    assert verify(Path(folder)) is not None
    assert names(tmp_path / "cache") == [Path(folder).name]


def test_what_a_node_names(tmp_path: Path) -> None:
    assert [is_remote(text) for text in ("models/a", "/a", "s3://b/a", "mlflow:a")] == [False, False, True, True]
    assert source_of("s3://b/../../etc", tmp_path) is source_of("s3://b/../../etc", tmp_path)
    for text in ("s3://b/../../etc", "mlflow:a", "memory://..", "mlflow:.hidden"):
        try:
            cache = source_of(text, tmp_path)._cache.resolve()  # type: ignore[attr-defined]
        except ModelError:
            continue
        assert cache.parent == (tmp_path / ".millrace" / "fetched").resolve()


@pytest.mark.parametrize("name", ["", "..", "a/b", "../a", "a:b", "a@champion", "a'b", "a\nb"])
def test_names_that_no_registered_model_has(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be the name of a registered model"):
        source_of(f"mlflow:{name}", tmp_path)


def test_digests_that_do_not_fit_are_noticed(store: Path, push: Push, tmp_path: Path) -> None:
    push(1)
    path = store / "m" / "1" / "digests.json"
    digests = json.loads(path.read_text())
    digests["files"]["model.txt"]["sha256"] = "0" * 64
    path.write_text(Digests.model_validate(digests).model_dump_json())
    with pytest.raises(ModelError, match="is damaged"):
        Fetched(Url(f"file://{store}/m"), tmp_path / "cache").local(1)
    assert names(tmp_path / "cache") == []
