"""Versions behind a URL that pyarrow or fsspec opens: `s3://bucket/models/iris/<number>/…`."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs.errors import MillraceError, MissingExtra, ModelError, NoSuchModel
from servables import versions as quiet
from servables.digests import Digests, misfits
from servables.extras import require
from servables.files import DIGESTS, SIGNED, TEMPORARY, is_aside, one_line
from servables.sources.base import Progress, Published, safe_path, without_secrets
from servables.store import is_number

_CHUNK = 4 << 20
_ABOUT = (DIGESTS, SIGNED)
"""Files that tell of the others."""

Files = Mapping[str, Any]
"""Path relative to the version → `pyarrow.fs.FileInfo`."""


def open_url(url: str) -> tuple[Any, str]:
    """The `pyarrow.fs.FileSystem` that a URL names, and the path in it; fsspec opens what pyarrow does not.

    Raises MissingExtra, and the errors of pyarrow, fsspec and its drivers.
    """
    fs = require("pyarrow.fs", "")
    arrow = require("pyarrow", "")
    try:
        opened: tuple[Any, str] = fs.FileSystem.from_uri(url)
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        found, path = require("fsspec.core", "fsspec").url_to_fs(url)
        opened = fs.PyFileSystem(fs.FSSpecHandler(found)), path
    return opened


class Url:
    """A folder of versions behind a URL, laid out as one on disk.

    A store has no rename that makes a version appear whole: one with `digests.json` counts when all its files are there
    with their sizes, one without when nothing in it changed for `QUIET_S`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.place = without_secrets(url)
        self._digests: dict[tuple[str, int, int], Digests] = {}
        """Path, bytes and time of each `digests.json` that was read."""

    def prepare(self) -> None:
        """Import pyarrow. Raises MissingExtra."""
        require("pyarrow.fs", "")

    def published(self, now: float) -> Published:
        """One listing of the model's folder, and each `digests.json` once. Raises ModelError, MissingExtra."""
        versions, notes = {}, []
        with self._errors():
            for number, files in sorted(self._list().items()):
                try:
                    versions[number] = self._fingerprint(f"{self.place}/{number}", files, now)
                except ModelError as error:
                    notes.append(error.message)
        return Published(versions, notes)

    def download(self, number: int, folder: Path, progress: Progress) -> None:
        """Copy every visible file. Raises ModelError, MissingExtra."""
        with self._errors():
            files = self._list(number).get(number, {})
            total = sum(info.size for info in files.values())
            for name, info in files.items():
                target = folder / safe_path(f"{self.place}/{number}", name)
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._opened[0].open_input_stream(info.path) as reader, target.open("xb") as writer:
                    while chunk := reader.read(_CHUNK):
                        writer.write(chunk)
                        progress(len(chunk), total)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_url(self._url)

    def _list(self, only: int | None = None) -> dict[int, dict[str, Any]]:
        """Number → the visible files of that version."""
        system, path = self._opened
        selector = require("pyarrow.fs", "").FileSelector
        start = path.rstrip("/")
        infos = system.get_file_info(selector(start if only is None else f"{start}/{only}", recursive=True))
        found: dict[int, dict[str, Any]] = {}
        for info in infos:
            number, _, name = info.path.removeprefix(start).lstrip("/").partition("/")
            if info.is_file and is_number(number) and not any(map(is_aside, name.split("/"))):
                found.setdefault(int(number), {})[name] = info
        return found

    def _fingerprint(self, place: str, files: Files, now: float) -> str:
        """Raises ModelError unless the version is whole."""
        sizes = {safe_path(place, name): info.size for name, info in files.items() if name not in _ABOUT}
        if DIGESTS in files:
            digests = self._read(place, files[DIGESTS])
            if problem := "; ".join(list(misfits(digests, sizes))[:3]):
                raise ModelError(f"{place}: {problem}; let its writer end, or remove it and push again")
            return digests.digest
        if unfinished := [name for name in sizes if name.lower().endswith(TEMPORARY)]:
            raise ModelError(f"{place}: {', '.join(unfinished[:3])} is still being written")
        times = {name: info.mtime_ns for name, info in files.items()}
        if None in times.values():
            raise ModelError(
                f"{place} has no {DIGESTS}, and this store tells no times; `millrace models push` writes it"
            )
        if (still := now - max(times.values()) / 1e9) < quiet.QUIET_S:
            raise ModelError(
                f"{place} changed {still:.1f} s ago; without {DIGESTS} it counts after {quiet.QUIET_S:g} s"
            )
        return hashlib.sha256(repr((sorted(sizes.items()), sorted(times.items()))).encode()).hexdigest()

    def _read(self, place: str, info: Any) -> Digests:
        key = (info.path, info.size, info.mtime_ns or 0)
        if key not in self._digests:
            with self._opened[0].open_input_stream(info.path) as file:
                try:
                    found = Digests.model_validate_json(file.read())
                except ValidationError as error:
                    why = error.errors()[0]["msg"]
                    raise ModelError(f"{place}/{DIGESTS} is not as `millrace models push` writes it: {why}") from error
            if info.mtime_ns is None:
                return found
            self._digests[key] = found
        return self._digests[key]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MillraceError:
            raise
        except ImportError as error:  # of the driver that fsspec looks for
            raise MissingExtra(f"{self.place} cannot be read: {one_line(error)}") from error
        except FileNotFoundError as error:
            raise NoSuchModel(f"{self.place} does not exist; put a version in {self.place}/1/") from error
        except Exception as error:  # every file system and every store has errors of its own
            raise ModelError(f"{self.place} cannot be read: {without_secrets(one_line(error))}") from error
