"""Versions in a folder of this machine, `<model>/<number>/…`, which are loaded where they lie."""

from collections.abc import Callable, Collection
from pathlib import Path

from configs.errors import ModelError
from servables.digests import read_digests
from servables.sources.aside import SHORT_S
from servables.sources.base import CONTENT_LENGTH, Local, Published
from servables.store import Found, find_version, scan
from servables.versions import State, read_contents


class Folder:
    """A source that copies nothing.

    Args:
        path: of the model, with a folder for each version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def published(self, now: float, named: Collection[int] = (), patience_s: float = SHORT_S) -> Published:
        """Every whole version. Reads names, sizes and times of files. Raises ModelError: the folder cannot be read."""
        found = scan(self._path, now)
        return Published(
            {each.number: each.judgement.fingerprint for each in found if each.number is not None and _in(each, named)},
            [each.judgement.reason for each in found if each.judgement.state is State.BROKEN],
        )

    def content_of(self, number: int, fits: Callable[[str], bool]) -> str:
        """What lies there now. Raises ModelError if there is no such version, or if it does not fit."""
        path = find_version(self._path, number).path
        content = read_contents(path).fingerprint[:CONTENT_LENGTH]
        if not fits(content):
            raise _another(path)
        return content

    def local(self, number: int | None = None, content: str = "") -> Local:
        """As `find_version`. Raises ModelError also if it was pushed with another content than `content`."""
        found = find_version(self._path, number)
        # Without digests each machine's copy has a fingerprint of its own.
        if content and (digests := read_digests(found.path)) and not digests.digest.startswith(content):
            raise _another(found.path)
        return Local(found.number, found.path)

    def forget(self, number: int, content: str) -> None:
        """The folder is not ours to change."""


def _another(path: Path) -> ModelError:
    return ModelError(f"{path} has another content now than the one that is wanted; publish it as a new version")


def _in(found: Found, named: Collection[int]) -> bool:
    state = found.judgement.state
    return state is State.WHOLE or (state is State.WAITING and found.number in named)
