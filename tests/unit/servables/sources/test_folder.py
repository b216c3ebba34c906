"""A folder as a source: what is there, and that it is still what was judged."""

import errno
import shutil
from pathlib import Path

import pytest

from configs.errors import ModelError
from servables.sources.base import CONTENT_LENGTH
from servables.sources.folder import Folder
from tests.unit.servables.sources.conftest import Push


@pytest.mark.parametrize("method", ["exists", "is_dir", "iterdir", "resolve"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_folder_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, number: int
) -> None:
    def fails(*_arguments: object, **_options: object) -> None:
        raise OSError(number, "the disk is away")

    monkeypatch.setattr(Path, method, fails)
    with pytest.raises(ModelError, match="cannot be read: the disk is away"):
        Folder(tmp_path).published(0)


def test_what_is_loaded_is_what_was_verified(store: Path, push: Push) -> None:
    push(1, "tree")
    source = Folder(store / "m")
    fingerprint = source.published(0).versions[1]
    content = source.content_of(1, fingerprint.startswith)
    assert content == fingerprint[:CONTENT_LENGTH]
    assert source.local(1, content).path == store / "m" / "1"
    shutil.rmtree(store / "m" / "1")
    push(1, "another tree")
    with pytest.raises(ModelError, match="1 has another content now than the one that is wanted; publish it as a new"):
        source.local(1, content)
    with pytest.raises(ModelError, match="another content now"):
        source.content_of(1, fingerprint.startswith)
    (store / "m" / "1" / "digests.json").unlink()  # so a copy on each machine may have its own fingerprint
    assert source.local(1, content).number == source.local(1).number == 1
