"""Opens the state of an application: a database by its URL, or else a file beside what it serves."""

import asyncio
import os
from pathlib import Path

from sqlalchemy import URL

from configs.errors import ConfigError
from configs.places import KEPT
from rollouts.store import StateStore

_SQLITE = "sqlite:///"


def default_state_url(root: Path, application: str) -> str:
    """The state's file of an application, beside what it serves."""
    path = root / KEPT / f"{application}.sqlite"
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


async def opened(url: str) -> StateStore:
    """The state in this database; a file is made if there is none.

    Raises ConfigError for a file that cannot be made, else as `StateStore`.
    """
    if url.startswith(_SQLITE):
        _make(Path(url.removeprefix(_SQLITE)))
    return await asyncio.to_thread(StateStore, url)


def _make(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # It holds what the serve config says, which may have secrets in it.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigError(f"state_url: {file.parent} cannot be made: {error.strerror}; name another place") from error
