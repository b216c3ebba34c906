"""Versions of a remote source, fetched into a folder of this machine: whole and verified, or not at all."""

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import IO
from uuid import uuid4

from configs.errors import ModelError
from servables.digests import digests_of
from servables.files import DIGESTS
from servables.push import sync_folders, write_file
from servables.sources.aside import LONG_S, SHORT_S, Aside
from servables.sources.base import CONTENT_LENGTH, Local, Published, Remote
from servables.store import PUSHING
from servables.versions import read_contents, verify
from servables.workplace import workplace

KEPT = 5
"""Versions of a model that stay on disk though nobody uses them, those used last: for a rollback without a download.

More than are fetched side by side, so that none goes between its fetch and its load.
"""

_FOLDER = re.compile(rf"(?P<number>\d+)-(?P<content>[0-9a-f]{{{CONTENT_LENGTH}}})", re.ASCII)


class Fetched:
    """A source whose versions are copied to `<cache>/<number>-<content>` before they are loaded.

    Any number of processes may use one cache: one of them fetches a version, the others wait for it, and what one of
    them uses none removes.

    Args:
        remote: where versions come from.
        cache: the folder of this model's versions; made when it is needed.
    """

    def __init__(self, remote: Remote, cache: Path) -> None:
        self._remote, self._cache = remote, cache
        self._ask = Aside(remote.place, lambda: remote.published(time.time()))

    def published(self, now: float, named: Collection[int] = (), patience_s: float = SHORT_S) -> Published:
        """What the remote source says. Raises ModelError, also if it does not answer soon; MissingExtra."""
        self._remote.prepare()
        return self._ask(patience_s)

    def content_of(self, number: int, fits: Callable[[str], bool]) -> str:
        """A content that was fetched, else the one that is published. Raises ModelError if neither fits."""
        for found in self._folders():
            if found["number"] == str(number) and fits(found["content"]):
                return found["content"]
        content = self._published_content(number)
        if not fits(content):
            raise ModelError(f"{self._remote.place} has another version {number} now than the one that is wanted")
        return content

    def local(self, number: int | None = None, content: str = "") -> Local:
        """A version in the cache, fetched if it is not there. Raises ModelError."""
        if number is None:
            number = max(self._ask(LONG_S).versions, default=None)
            if number is None:
                raise ModelError(f"{self._remote.place} has no version that is whole")
        folder = self._cache / f"{number}-{content or self._published_content(number)}"
        with self._disk(number):
            used = _use(folder)
            if used is None:
                self._fetch(number, folder)
                used = _use(folder)
        if used is None:
            raise ModelError(f"{folder} was removed as soon as it was fetched; is {self._cache} being cleaned?")
        self._tidy()
        return Local(number, folder, used.close)

    def forget(self, number: int, content: str) -> None:
        """Remove it, unless somebody uses it."""
        _remove(self._cache / f"{number}-{content}")

    def _published_content(self, number: int) -> str:
        published = self._ask(LONG_S).versions
        if number not in published:
            have = ", ".join(map(str, sorted(published))) or "none"
            raise ModelError(f"{self._remote.place} has no version {number}; there are: {have}")
        return published[number][:CONTENT_LENGTH]

    def _fetch(self, number: int, folder: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        with _alone(self._cache / f".{folder.name}.lock"):
            if not (folder / DIGESTS).exists():
                self._copy(number, folder)

    @contextmanager
    def _disk(self, number: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ModelError(
                f"version {number} of {self._remote.place} could not be fetched to {self._cache}: {error.strerror}"
            ) from error

    def _copy(self, number: int, folder: Path) -> None:
        self._check_still(number, folder)
        with workplace(self._cache) as half:
            self._remote.download(number, half, lambda _bytes, _total: None)
            if verify(half) is None:
                write_file(half / DIGESTS, digests_of(half, read_contents(half).files).model_dump_json().encode())
            self._check_still(number, folder)  # else what was copied may be half of one and half of another
            sync_folders(half)
            _put(half, folder)

    def _check_still(self, number: int, folder: Path) -> None:
        if not folder.name.endswith(
            f"-{self._remote.published(time.time()).versions.get(number, '')[:CONTENT_LENGTH]}"
        ):
            raise ModelError(f"{self._remote.place} no longer has the version {number} that was asked for")

    def _folders(self) -> list[re.Match[str]]:
        """What was fetched, the one used last first."""
        try:
            found = [(path.stat().st_mtime, match) for path in self._cache.iterdir() if (match := _match(path))]
        except OSError:  # nothing was fetched, another process tidies, or the disk is away
            return []
        return [match for _, match in sorted(found, key=lambda each: each[0], reverse=True)]

    def _tidy(self) -> None:
        for match in self._folders()[KEPT:]:
            _remove(self._cache / match[0])


def _match(path: Path) -> re.Match[str] | None:
    return _FOLDER.fullmatch(path.name)


def _put(half: Path, folder: Path) -> None:
    """Give what was fetched its name, unless another process was faster. Raises OSError."""
    try:
        half.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not (folder / DIGESTS).exists():  # what is left of one that was damaged
            _remove(folder)
            half.rename(folder)


def _use(folder: Path) -> BufferedReader | None:
    """Lock a version that was fetched, so that nobody removes it while this is open; None if it is not whole here.

    What is damaged is removed. Raises OSError or ModelError if it cannot be read now.
    """
    handle = _locked(folder, fcntl.LOCK_SH)
    if handle is None:
        return None
    try:
        read_contents(folder)
        os.utime(folder)
    except BaseException as error:
        handle.close()
        if not isinstance(error, ModelError) or isinstance(error.__cause__, OSError):  # it may be whole for all that
            raise
        _remove(folder)
        return None
    return handle


def _locked(folder: Path, how: int) -> BufferedReader | None:
    """A version's digests, locked; None if it has none, or another took its place meanwhile. Raises OSError."""
    try:
        handle = (folder / DIGESTS).open("rb")
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, how)
        if _is_at(handle, folder / DIGESTS):
            return handle
    except BaseException:
        handle.close()
        raise
    handle.close()
    return None


def _remove(folder: Path) -> None:
    """Remove what nobody uses; under another name, so that nobody sees half of it."""
    gone = folder.with_name(f"{PUSHING}{uuid4().hex[:12]}")
    try:
        with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) or nullcontext() as handle:
            if handle is None and (folder / DIGESTS).exists():
                return
            folder.rename(gone)
    except OSError:  # in use, gone already, or the disk is away: then the next time
        return
    shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock between processes. Where locks do not work, two fetch the same, and the first to end wins."""
    while True:
        with path.open("wb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle, path):  # whoever held it has removed it: the lock is no longer one
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_at(handle: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
