"""A folder as a source: what is there, and that it is still what was judged."""

import errno
from pathlib import Path

import pytest

from configs.errors import ModelError
from servables.sources.folder import Folder


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
