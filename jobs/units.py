"""What a job reads: files named by paths, patterns, folders and URLs, cut into units that one task reads."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from configs.errors import ConfigError
from jobs.places import is_url, local_path, open_place, refusals
from servables.files import one_line
from servables.sources.base import without_secrets

FORMATS = ("parquet", "csv", "jsonl", "images")
UNIT_ROWS = 1_000_000
"""Rows of a Parquet file from which another unit begins."""
UNIT_BYTES = 256 << 20
"""Bytes of a Parquet file, before compression, from which another unit begins."""
UNIT_IMAGES = 1000
"""Images of a unit."""

_IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
_SUFFIXES = {"parquet": "parquet", "csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl"} | dict.fromkeys(
    _IMAGES, "images"
)
_COMPRESSED = ("gz", "bz2", "zst", "lz4")
_MAGIC = "*?["
_SHOWN = 5
_LOOKERS = 16


@dataclass(frozen=True)
class Unit:
    """What one task reads: a file, row groups of a Parquet file, or some images of a folder. Picklable."""

    index: int
    place: str
    """What `jobs.places.open_place` opens the file system with; may hold credentials, so it is not for messages.

    Empty: this machine's."""
    paths: tuple[str, ...]
    """Paths in the file system; several only of images."""
    format: str
    """One of `FORMATS`."""
    row_groups: tuple[int, ...] | None
    """Of a Parquet file: which to read."""
    first_row: int
    """Position in the file (images: among all images of the job) of the unit's first row."""
    rows: int | None
    """Number of rows that are read, from the first on; None: all, and only reading tells how many."""
    stamp: str
    """Hash of paths, sizes and times of the files: another one means that they changed."""

    @property
    def name(self) -> str:
        """How messages and the manifest call it."""
        path = self.paths[0]
        if not is_url(self.place) or "://" in path:
            return without_secrets(path)
        return f"{self.place.partition('://')[0]}://{path.lstrip('/')}"


class _File(NamedTuple):
    place: str
    path: str
    size: int
    mtime_ns: int
    format: str | None


def find_units(inputs: Sequence[str], format: str | None = None) -> list[Unit]:
    """The units of all inputs, in the order of their paths: the same ones each time, whatever the order of `inputs`.

    An input is a path, a folder (with all below it), a pattern with `*`, `?`, `[…]` and `**`, or a URL of one (there
    `?` begins the URL's options). Names that begin with `.` or `_` are left out unless named in full; a file that is
    named twice is read once. Files without a byte hold no row, but such a Parquet file is damaged.

    Args:
        format: one of `FORMATS`; None: by the suffixes, which must agree. CSV and JSONL may be compressed
            (`.csv.gz`). Given: of folders and patterns only files with its suffix are taken, if there are any.

    Raises:
        ConfigError: nothing there, mixed or unknown formats, a damaged Parquet footer, or no permission.
        MissingExtra: a file system's library is not installed.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"format {format!r} is unknown; known are {', '.join(FORMATS)}")
    if not inputs:
        raise ConfigError("there is no input; name files, folders or patterns like 'data/*.parquet'")
    files = sorted({file[:2]: file for text in inputs for file in _files(text, format)}.values())
    agreed = format or _agreed(files)
    drafts = _image_units(files) if agreed == "images" else list(_looked_at(files, agreed))
    if not drafts:
        raise ConfigError(f"{', '.join(map(without_secrets, inputs))}: every file is empty; there is nothing to read")
    return [Unit(index, *draft) for index, draft in enumerate(drafts)]


def _files(text: str, format: str | None) -> list[_File]:
    start, pattern = _split(text)
    place = _root(start) if is_url(start) else ""
    with refusals(text):
        system, path = open_place(start)
        info = system.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(path)
        if info.type == fs.FileType.File and not pattern:
            return [_file(place, info)]
        infos = [info for info in _listed(system, path, pattern) if info.is_file]
    names = {info.path: info.path.removeprefix(path).lstrip("/").split("/") for info in infos}
    shown = {info.path: info for info in infos if not any(part[0] in "._" for part in names[info.path])}
    found = [_file(place, info) for name, info in shown.items() if _matches(names[name], pattern.split("/"))]
    wanted = [file for file in found if file.format == format] if format else []
    if not found:
        what = f"no file matches among {len(shown)}" if pattern else "the folder holds no file to read"
        raise ConfigError(f"{without_secrets(text)}: {what} (names with . or _ in front are left out); correct it")
    return wanted or found


def _listed(system: Any, path: str, pattern: str) -> list[Any]:
    """What may match; a pattern without folders, as `data/*.parquet`, does not need a list of all below."""
    if not pattern or "/" in pattern or "**" in pattern:
        return list(system.get_file_info(fs.FileSelector(path, recursive=True)))
    here = system.get_file_info(fs.FileSelector(path))
    folders = [info.path for info in here if not info.is_file and fnmatchcase(info.base_name, pattern)]
    return [*here] + [info for folder in folders for info in _listed(system, folder, "")]


def _root(url: str) -> str:
    """What opens the same file system for every path in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "", parts.query, ""))


def _split(text: str) -> tuple[str, str]:
    """What to open, and the pattern below it; empty if there is none."""
    if is_url(text):
        url, mark, options = text.partition("?")
        path, magic = url, "*["
    else:
        path, mark, options, magic = local_path(text), "", "", _MAGIC
        if os.path.lexists(path):  # a name may hold brackets
            return path, ""
    first = min((path.find(sign) for sign in magic if sign in path), default=-1)
    if first == -1:
        return path + mark + options, ""
    base = path[:first].rpartition("/")[0] or "/"
    return base + mark + options, path[len(base) :].lstrip("/")


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    if patterns == [""]:
        return True
    if not parts or not patterns:
        return not parts and not patterns
    if patterns[0] == "**":
        return _matches(parts, patterns[1:]) or _matches(parts[1:], patterns)
    if fnmatchcase(parts[0], patterns[0]):
        # A pattern may end at a folder: all below it is meant.
        return _matches(parts[1:], patterns[1:]) or (len(patterns) == 1 and len(parts) > 1)
    return False


def _file(place: str, info: Any) -> _File:
    name = info.path.lower().split(".")
    if name[-1] in _COMPRESSED:
        name.pop()
    found = _SUFFIXES.get(name[-1]) if len(name) > 1 else None
    return _File(place, info.path, info.size or 0, info.mtime_ns or 0, found)


def _agreed(files: Sequence[_File]) -> str:
    unknown = [file.path for file in files if file.format is None]
    if unknown:
        raise ConfigError(
            f"{_some(unknown)}: the suffix tells no format; say it with --input-format ({', '.join(FORMATS)}), "
            "or name the files by a pattern like 'data/*.parquet'"
        )
    formats = Counter(str(file.format) for file in files)
    if len(formats) > 1:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(formats.items()))
        raise ConfigError(
            f"the inputs are of several formats ({counts}); say one with --input-format, whose files alone are then "
            "read, or name one by a pattern"
        )
    return next(iter(formats))


def _some(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


_Draft = tuple[str, tuple[str, ...], str, tuple[int, ...] | None, int, int | None, str]
"""The fields of a `Unit` after its index."""


def _image_units(files: Sequence[_File]) -> list[_Draft]:
    drafts: list[_Draft] = []
    first = 0
    for place, group in groupby(files, key=lambda file: file.place):
        alike = list(group)
        for start in range(0, len(alike), UNIT_IMAGES):
            some = alike[start : start + UNIT_IMAGES]
            drafts.append((place, tuple(f.path for f in some), "images", None, first, len(some), _stamp(some)))
            first += len(some)
    return drafts


def _looked_at(files: Sequence[_File], format: str) -> Iterator[_Draft]:
    """Open each file, some at the same time: what cannot be read is known before the job starts."""
    with ThreadPoolExecutor(_LOOKERS) as pool:
        for drafts in pool.map(_parquet_units if format == "parquet" else lambda f: _text_unit(f, format), files):
            yield from drafts


def _text_unit(file: _File, format: str) -> list[_Draft]:
    with refusals(file.path):
        open_place(file.place)[0].open_input_stream(file.path, compression=None).close()
    return [(file.place, (file.path,), format, None, 0, None, _stamp([file]))] if file.size else []


def _parquet_units(file: _File) -> list[_Draft]:
    with refusals(file.path):
        system = open_place(file.place)[0]
        try:
            with system.open_input_file(file.path) as opened:
                footer = pq.read_metadata(opened)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConfigError(
                f"{file.path} ({file.size} bytes) is no whole Parquet file: {one_line(error)}; "
                "let its writer end, or remove it"
            ) from error
    drafts: list[_Draft] = []
    for first, rows, groups in _runs(footer):
        drafts.append((file.place, (file.path,), "parquet", groups, first, rows, _stamp([file])))
    return drafts


def _runs(footer: Any) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """First row, number of rows and row groups of each unit of a Parquet file."""
    first, rows, size = 0, 0, 0
    groups: list[int] = []
    for number in range(footer.num_row_groups):
        about = footer.row_group(number)
        if groups and (rows + about.num_rows > UNIT_ROWS or size + about.total_byte_size > UNIT_BYTES):
            yield first, rows, tuple(groups)
            first, rows, size, groups = first + rows, 0, 0, []
        groups.append(number)
        rows, size = rows + about.num_rows, size + about.total_byte_size
    if rows:
        yield first, rows, tuple(groups)


def _stamp(files: Iterable[_File]) -> str:
    digest = blake2b(digest_size=16)
    for file in files:
        digest.update(f"{file.path}\0{file.size}\0{file.mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
