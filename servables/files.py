"""The files of a version folder: which are there, which are one format's, which is the one to load."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from configs.errors import ModelError

SIGNATURE = "signature.json"
"""The optional manifest of a version folder."""
DIGESTS = "digests.json"
"""Size and SHA-256 of every file of a version that was pushed."""
SIGNED = "digests.sig"
"""Who published the version, if it is signed."""
SAMPLES = "warmup.json"
"""Rows that the model is called with before any request is."""
TEMPORARY = (".part", ".partial", ".tmp", ".temp", ".incomplete", ".filepart", ".crdownload", ".download")
"""Endings under which writers of the usual tools keep a file that is not complete."""


def visible(folder: Path) -> list[Path]:
    """What lies in the folder, by name, without hidden files. Raises ModelError if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}; a version is a folder") from error


def tree(folder: Path) -> dict[str, os.stat_result]:
    """All files and folders in a version folder, hidden ones too: relative path (with `/`) → its state.

    The folder itself is `.`. A link counts as the file that it leads to.
    Raises ModelError for what cannot be read, is neither file nor folder, or is a link that leads out of the folder.
    """
    found: dict[str, os.stat_result] = {}
    folders = [folder]
    try:
        while folders:
            here = folders.pop()
            found[here.relative_to(folder).as_posix()] = here.stat()
            for path in here.iterdir():
                status = _status(path, folder)
                if not stat.S_ISDIR(status.st_mode):
                    found[path.relative_to(folder).as_posix()] = status
                elif not path.is_symlink():
                    folders.append(path)
    except OSError as error:
        raise ModelError(
            f"{error.filename} cannot be read: {error.strerror}; a version is a folder of files"
        ) from error
    return found


def _status(path: Path, folder: Path) -> os.stat_result:
    status = path.stat()
    if path.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(folder.resolve()):
            raise ModelError(f"{path} is a link that leads out of the version, to {target}; put a copy there (cp -rL)")
        # Kubernetes mounts a ConfigMap as links through a hidden folder link, `..data`.
        if stat.S_ISDIR(status.st_mode) and not path.name.startswith("."):
            raise ModelError(f"{path} is a link to a folder; put a copy of the folder there (cp -rL)")
    elif not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is neither a file nor a folder; remove it")
    return status


def artifact(found: Mapping[str, os.stat_result]) -> dict[str, int]:
    """The files of a `tree` that make up the version, by path, with their sizes in bytes.

    Left out are hidden files, what Python caches, the list of digests itself and its signature.
    """
    return {
        name: status.st_size
        for name, status in sorted(found.items())
        if stat.S_ISREG(status.st_mode) and name not in (DIGESTS, SIGNED) and not any(map(is_aside, name.split("/")))
    }


def is_aside(part: str) -> bool:
    """Whether a file or folder of this name belongs to no version: hidden, or Python's cache."""
    return part.startswith(".") or part == "__pycache__"


def matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The visible files of the folder that match one of the patterns."""
    return [path for path in visible(folder) if path.is_file() and any(path.match(pattern) for pattern in patterns)]


def only_file(folder: Path, patterns: tuple[str, ...]) -> Path:
    """The one file that matches. Raises ModelError if there is none or if there are several."""
    files = matching(folder, patterns)
    if len(files) != 1:
        wanted = " or ".join(patterns)
        found = f"{len(files)} files match ({', '.join(f.name for f in files)})" if files else "there is none"
        raise ModelError(f"{folder}: one file {wanted} is needed, but {found}")
    return files[0]


def one_line(error: BaseException, limit: int = 300) -> str:
    """A framework's error as one line of at most `limit` characters, without its C++ stack trace."""
    text = " ".join(str(error).split("Stack trace:")[0].split())
    return f"{type(error).__name__}: {text[:limit]}{'…' if len(text) > limit else ''}"
