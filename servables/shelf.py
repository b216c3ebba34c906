"""A folder of many models: which there are, and which versions of each."""

import logging
import time
from pathlib import Path
from typing import NamedTuple

from configs.errors import ModelError, NoSuchModel, NotAnswered, NotFound, Unavailable
from configs.log import LOGGER
from servables.sources.base import CONTENT_LENGTH, Local, Published, Source
from servables.sources.named import is_remote, source_of
from servables.store import is_name

logger = logging.getLogger(LOGGER)


class Pick(NamedTuple):
    """One version of one model."""

    model: str
    number: int
    content: str
    """Start of its fingerprint: another one is another content."""

    def __str__(self) -> str:
        return f"{self.model}/{self.number}"


def check_asked(model: str) -> str:
    """The name of a model that a client asks for. Raises NotFound if no model can have it."""
    if not is_name(model):  # the words of `check_name` are for whoever publishes a model
        raise unknown(model)
    return model


def unknown(model: str, why: str = "") -> NotFound:
    """There is no such model, in the words that Triton's clients look for."""
    return NotFound(f"Request for unknown model: '{model[:100]}' is not found{why and f'; {why}'}")


def name_in(cell: object) -> str:
    """The name that a cell of a BYTES column holds."""
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)


class Shelf:
    """Models that are found by their names. Its methods read disks, or ask remote places.

    Args:
        place: a folder whose folders are models, or the URL of one.
        root: the folder that relative paths start from.
    """

    def __init__(self, place: str, root: Path) -> None:
        self.place = place.rstrip("/")
        self._root = root

    def names(self) -> list[str]:
        """All models of a folder of this machine. Raises ModelError if it cannot be read."""
        try:
            folders = (self._root / self.place).iterdir()
            return sorted(path.name for path in folders if path.is_dir() and not path.name.startswith("."))
        except OSError as error:
            raise ModelError(f"{self.place} cannot be read: {error.strerror}; name the folder of all models") from error

    def versions(self, model: str) -> list[Pick]:
        """The whole versions of a model, the newest first.

        Raises:
            NotFound: there is no such model, or no whole version of it; the log says what there is instead.
            Unavailable: its place does not answer.
            ModelError: it cannot be read.
        """
        published = self._published(model)
        newest_first = sorted(published.versions.items(), reverse=True)
        picks = [Pick(model, number, fingerprint[:CONTENT_LENGTH]) for number, fingerprint in newest_first]
        if not picks:
            if published.notes:
                logger.info("model %s in %s has no whole version: %s", model, self.place, "; ".join(published.notes))
            raise unknown(model)
        return picks

    def local(self, pick: Pick) -> Local:
        """A version as a folder of this machine, fetched if need be. Raises ModelError."""
        return self._source(pick.model).local(pick.number, pick.content)

    def _published(self, model: str) -> Published:
        try:
            return self._source(model).published(time.time())
        except NoSuchModel:
            raise unknown(model) from None
        except NotAnswered as error:
            raise Unavailable(f"model {model}: {error.message}") from error
        except OSError as error:
            raise ModelError(f"model {model} cannot be read: {error.strerror}") from error

    def _source(self, model: str) -> Source:
        path = f"{self.place}/{check_asked(model)}"
        if not is_remote(path) and not (self._root / path).is_dir():
            raise unknown(model)
        return source_of(path, self._root)
