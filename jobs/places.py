"""Opening what a job reads and writes: a path of this machine, or a URL that pyarrow or fsspec opens."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from pyarrow import fs

from configs.errors import ConfigError, MillraceError, MissingExtra
from servables.files import one_line
from servables.sources.base import without_secrets
from servables.sources.url import open_url


def is_url(text: str) -> bool:
    """Whether it is a URL that is not this machine's: `file://…` is a path."""
    return "://" in text and not text.startswith("file://")


def local_path(text: str) -> str:
    """The absolute path that a relative path, `~/…` or `file://…` names."""
    return os.path.abspath(os.path.expanduser(text.removeprefix("file://")))


@lru_cache(maxsize=64)
def open_place(place: str) -> tuple[Any, str]:
    """The `pyarrow.fs.FileSystem` of a folder or file, and its path in it. Raises ConfigError, MissingExtra."""
    if not is_url(place):
        return fs.LocalFileSystem(), local_path(place)
    with refusals(place):
        system, path = open_url(place)
    return system, path.rstrip("/")


@contextmanager
def refusals(place: str) -> Iterator[None]:
    """Errors of a file system as ConfigError or MissingExtra that name the place, without its secrets."""
    name = without_secrets(place)
    try:
        yield
    except MillraceError:
        raise
    except ImportError as error:  # of the driver that fsspec looks for
        raise MissingExtra(f"{name} cannot be opened: {one_line(error)}") from error
    except FileNotFoundError as error:
        raise ConfigError(f"{name} does not exist; name a file, a folder or a pattern like 'data/*.parquet'") from error
    except PermissionError as error:
        raise ConfigError(f"{name} may not be opened by this user; change its rights or the credentials") from error
    except Exception as error:  # every file system and every store has errors of its own
        raise ConfigError(f"{name} cannot be opened: {without_secrets(one_line(error))}") from error
