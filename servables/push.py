"""Publish a file or folder as a version of a model, so that readers see all of it or nothing."""

import errno
import hashlib
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ModelError
from servables.base import LoadOptions
from servables.digests import Digests, FileDigest
from servables.files import DIGESTS, SIGNED
from servables.load import FORMATS, detect, load_servable
from servables.samples import warmup_rows
from servables.signing import signature
from servables.store import GREATEST, ROOT, Version, check_name, is_number
from servables.versions import read_contents
from servables.workplace import workplace

Progress = Callable[[int, int], object]
"""Called after each piece with its bytes, and the bytes of all files."""

_CHUNK = 4 << 20
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@dataclass(frozen=True)
class Pushed:
    """A version that was published."""

    version: Version
    digests: Digests
    format: str


def push_model(
    source: Path,
    name: str,
    root: Path = ROOT,
    version: int | None = None,
    *,
    format: str | None = None,
    options: LoadOptions | None = LoadOptions(),  # noqa: B008 - frozen
    private_key: Path | None = None,
    progress: Progress = lambda _bytes, _total: None,
) -> Pushed:
    """Copy `source` to `<root>/<name>/<version>/` under a temporary name, with digests, try it there, and rename it.

    Hidden files and `__pycache__` stay behind. A source that is itself a pushed version must still be as it was pushed.
    Several may push at the same time: each gets a number of its own.

    Args:
        source: the model's file, or a folder as `docs/model-formats.md` describes.
        version: the number; by default one more than the greatest in the folder.
        format: the model's format, where its files could be several.
        options: how to load it once before it is published; None: only its format is looked for.
        private_key: signs the version, as `servables.signing.signature` says.

    Raises:
        ModelError: bad source, name or number, the model does not load, or the disk refuses. Nothing was published.
        MissingExtra: the library that loads it is not installed.
    """
    model_dir = root / check_name(name)
    _check_free(model_dir, version)
    sources, known = _sources(source)
    try:
        with workplace(model_dir) as folder:
            digests = _copy(sources, folder, progress)
            _check_same(source, digests, known)
            write_file(folder / DIGESTS, digests.model_dump_json(indent=1).encode())
            if private_key is not None:
                write_file(folder / SIGNED, signature(folder, private_key))
            found = _try(source, folder, format, options)
            sync_folders(folder)
            published = _publish(folder, model_dir, version)
        sync_folder(model_dir)
        sync_folder(root)
    except OSError as error:
        raise ModelError(f"{error.filename or model_dir}: {error.strerror}; nothing was published") from error
    return Pushed(published, digests, found)


def _sources(source: Path) -> tuple[dict[str, Path], Digests | None]:
    """Path in the version → file to copy, and what the source says of itself."""
    if source.is_file():
        _check_printable(source, source.name)
        return {source.name: source}, None
    if not source.exists():
        raise ModelError(f"{source} does not exist; name the model's file, or a folder with its files")
    contents = read_contents(source)
    for name in contents.files:
        _check_printable(source, name)
    return {name: source / name for name in contents.files}, contents.digests


def _check_printable(source: Path, name: str) -> None:
    if not name.isprintable():
        raise ModelError(f"{str(source)!r}: the file name {name!r} is not printable text; rename it")


def _copy(sources: Mapping[str, Path], folder: Path, progress: Progress) -> Digests:
    total = sum(path.stat().st_size for path in sources.values())
    files = {}
    for name, path in sources.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        files[name] = _copy_file(path, target, lambda size: progress(size, total))
    return Digests(files=files)


def _copy_file(source: Path, target: Path, progress: Callable[[int], object]) -> FileDigest:
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        before = os.fstat(reader.fileno())
        # A file that grows as fast as it is copied would have no end.
        while writer.tell() <= before.st_size and (chunk := reader.read(_CHUNK)):
            digest.update(chunk)
            writer.write(chunk)
            progress(len(chunk))
        after = os.fstat(reader.fileno())
        size = writer.tell()
        writer.flush()
        os.fsync(writer.fileno())
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, size):
        raise ModelError(f"{source} changed while it was copied; push it again when its writer has ended")
    return FileDigest(size=size, sha256=digest.hexdigest())


def _check_same(source: Path, digests: Digests, known: Digests | None) -> None:
    for name, file in digests.files.items():
        if known is not None and known.files[name] != file:
            raise ModelError(f"{source / name} is damaged: it is not what its {DIGESTS} says; push another")


def _try(source: Path, folder: Path, format: str | None, options: LoadOptions | None) -> str:
    """The format of what was copied; loads it unless told otherwise. Errors name the source, which the user knows."""
    try:
        if format is not None and format not in FORMATS:
            raise ModelError(f"format {format!r} is unknown; known are {', '.join(FORMATS)}")
        name = format or detect(folder).NAME
        if options is not None:
            options = options.model_copy(update={"k": 1})  # so many has any index
            with closing(load_servable(folder, options, name)) as servable:
                warmup_rows(folder, servable.signature)  # a server would find out only when it warms up
            read_contents(folder)  # a model that writes into its folder would not be what was pushed
    except ModelError as error:
        parent = source.parent if source.is_file() else source
        raise ModelError(f"{error.message.replace(str(folder), str(parent))} (nothing was published)") from error
    return name


def _check_free(model_dir: Path, number: int | None) -> None:
    if number is None:
        return
    if not is_number(str(number)):
        raise ModelError(f"version {number}: a version is a number from 0 to {GREATEST}")
    if os.path.lexists(model_dir / str(number)):
        raise ModelError(f"{model_dir / str(number)} exists, and versions do not change; push without a number")


def _publish(folder: Path, model_dir: Path, number: int | None) -> Version:
    """Give the folder its name. A folder cannot be renamed to one with files in it, so a number is taken once."""
    while True:
        _check_free(model_dir, number)
        chosen = _next(model_dir) if number is None else number
        path = model_dir / str(chosen)
        try:
            folder.rename(path)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            return Version(model_dir.resolve().name, chosen, path)


def _next(model_dir: Path) -> int:
    numbers = [int(path.name) for path in model_dir.iterdir() if is_number(path.name)]
    if GREATEST in numbers:
        raise ModelError(f"{model_dir / str(GREATEST)} has the greatest number there is; say which with --version")
    return max(numbers, default=0) + 1


def write_file(path: Path, content: bytes) -> None:
    """Write a new file, and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folders(folder: Path) -> None:
    """Wait until the names in a folder and in all below it are on the disk, not only in memory."""
    for path in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        sync_folder(path)


def sync_folder(folder: Path) -> None:
    """Wait until the names in one folder are on the disk, not only in memory."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
