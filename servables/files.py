"""The files of a version folder: which are there, which are one format's, which is the one to load."""

from pathlib import Path

from configs.errors import ModelError

SIGNATURE = "signature.json"
"""The optional manifest of a version folder."""


def visible(folder: Path) -> list[Path]:
    """What lies in the folder, by name, without hidden files. Raises ModelError if it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ModelError(f"{folder} cannot be read: {error.strerror}; a version is a folder") from error


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
