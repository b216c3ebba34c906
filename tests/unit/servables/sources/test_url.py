"""Versions behind URLs: what counts, what is said of the rest, and what must never be copied."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest

from configs.errors import MissingExtra, ModelError
from servables import versions
from servables.sources.base import safe_path, without_secrets
from servables.sources.fetched import Fetched
from servables.sources.url import Url
from tests.unit.servables.sources.conftest import Push


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's store in memory."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_versions_of_a_folder(store: Path, push: Push, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2, 10):
        push(number, f"tree {number}")
    (store / "m" / "1" / "digests.sig").write_bytes(b"a signature is none of the files that it vouches for")
    (store / "m" / "2" / "model.txt").write_text("half")
    for number in (3, 4):
        (store / "m" / str(number)).mkdir()
        (store / "m" / str(number) / "model.txt").write_text("tree")
    (store / "m" / "4" / "model.bin.part").write_text("half")
    (store / "m" / "old").mkdir()
    (store / "m" / "README").write_text("no version")
    source = Url(f"file://{store}/m/")
    found = source.published(time.time() + 10)
    assert sorted(found.versions) == [1, 3, 10]
    assert any("2: model.txt has 4 of 6 bytes" in note for note in found.notes)
    assert any("model.bin.part is still being written" in note for note in found.notes)
    assert source.published(time.time() + 20) == found
    monkeypatch.setattr(versions, "QUIET_S", 1000.0)
    found = source.published(time.time())
    assert sorted(found.versions) == [1, 10]
    assert any("without digests.json it counts after 1000 s" in note for note in found.notes)


def test_a_pushed_version_has_the_same_fingerprint_everywhere(store: Path, push: Push) -> None:
    push(1)
    push(2)
    found = Url(f"file://{store}/m").published(time.time())
    assert found.versions[1] == found.versions[2]


def test_what_fsspec_opens(store: Path, push: Push, memory: Any, tmp_path: Path) -> None:
    push(3)
    memory.put(f"{store}/m", "/bucket/m", recursive=True)
    memory.pipe("/bucket/m/4/model.txt", b"tree")
    source = Url("memory://bucket/m")
    found = source.published(time.time())
    assert sorted(found.versions) == [3]
    assert any("this store tells no times" in note for note in found.notes)
    version = Fetched(source, tmp_path / "cache").local()
    assert (version.path / "model.txt").read_text() == "tree"
    version.release()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///nowhere/m", "file:///nowhere/m does not exist"),
        ("nonsense://user:password@a/b", r"nonsense://…@a/b cannot be read: .*nonsense"),
    ],
)
def test_urls_that_lead_nowhere(url: str, says: str) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        Url(url).published(0)
    assert "password" not in caught.value.message


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a//b", ".", "a\\b", "a\nb", ""])
def test_names_that_lead_out_of_the_folder(name: str) -> None:
    with pytest.raises(ModelError, match="leads out of its folder or is no plain text"):
        safe_path("s3://b/m/1", name)


def test_a_hostile_store_is_reported_and_never_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Url("s3://b/m")
    info = SimpleNamespace(path="", is_file=True, size=1, mtime_ns=0)
    system = SimpleNamespace(get_file_info=lambda _selector: [info])
    monkeypatch.setitem(source.__dict__, "_opened", (system, "b/m"))
    info.path = "b/m/1//etc/x"
    found = source.published(time.time())
    assert found.versions == {}
    assert any("leads out of its folder" in note for note in found.notes)
    with pytest.raises(ModelError, match="leads out of its folder"):
        source.download(1, tmp_path, lambda _bytes, _total: None)
    assert list(tmp_path.iterdir()) == []


def test_passwords_are_not_told() -> None:
    assert without_secrets("s3://key:secret@bucket/m") == "s3://…@bucket/m"
    assert without_secrets("file:///a/b@c") == "file:///a/b@c"


def test_a_driver_that_is_not_installed_is_named(tmp_path: Path) -> None:
    fsspec.register_implementation("nodriver", "no_such_driver.Files", errtxt="install no_such_driver", clobber=True)
    source = Url("nodriver://host/m")
    for ask in (lambda: source.published(0), lambda: source.download(1, tmp_path, lambda _bytes, _total: None)):
        with pytest.raises(MissingExtra, match=r"nodriver://host/m cannot be read: .*install no_such_driver"):
            ask()
