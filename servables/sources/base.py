"""The contract of a source: which versions of a model are published, and one of them as a folder on this machine."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from configs.errors import ModelError
from servables.sources.aside import SHORT_S

CONTENT_LENGTH = 12
"""Hexadecimal digits of a fingerprint by which contents of one version number are told apart."""

Progress = Callable[[int, int], object]
"""Called after each piece with its bytes, and the bytes of all files."""


@dataclass(frozen=True)
class Published:
    """What lies in a source."""

    versions: Mapping[int, str] = field(default_factory=dict)
    """Number → fingerprint (hexadecimal: another one is another content) of every version that is whole."""
    notes: Collection[str] = ()
    """What is to be said of the others."""
    aliases: Mapping[str, int] = field(default_factory=dict)
    """Names that the source gives to versions."""

    def number_of(self, alias: str) -> int:
        """The version that an alias names. Raises ModelError if there is no such alias."""
        if alias not in self.aliases:
            have = ", ".join(sorted(self.aliases)) or "none"
            raise ModelError(f"no version has the alias {alias!r}; there are: {have}; set it in the registry")
        return self.aliases[alias]


@dataclass(frozen=True)
class Local:
    """A version as a folder that `load_servable` loads."""

    number: int
    path: Path
    release: Callable[[], object] = lambda: None
    """Say that it is no longer used: from then on a folder that was fetched may be removed."""


class Source(Protocol):
    """The versions of one model."""

    def published(self, now: float, named: Collection[int] = (), patience_s: float = SHORT_S) -> Published:
        """What there is.

        Args:
            now: seconds since 1970.
            named: numbers that somebody asks for: a folder of such a one need not be quiet.
            patience_s: how long an answer may take; the import of libraries comes on top.

        Raises:
            ModelError: it cannot be read now.
            MissingExtra: a library is not installed.
        """
        ...

    def content_of(self, number: int, fits: Callable[[str], bool]) -> str:
        """The content of a version, of those that are here or published, that fits. Raises ModelError."""
        ...

    def local(self, number: int | None = None, content: str = "") -> Local:
        """A version on this machine, fetched if need be; the newest, and whatever content it has, unless told.

        Raises ModelError: there is no such version, or it could not be fetched whole.
        """
        ...

    def forget(self, number: int, content: str) -> None:
        """What was fetched of this version is damaged: fetch it again when it is asked for again."""
        ...


class Remote(Protocol):
    """Versions that must be fetched before they can be loaded."""

    place: str
    """Its name, for messages."""

    def prepare(self) -> None:
        """Import the libraries that it needs. Raises MissingExtra."""
        ...

    def published(self, now: float) -> Published:
        """As `Source.published`; may take long, or hang. Raises ModelError."""
        ...

    def download(self, number: int, folder: Path, progress: Progress) -> None:
        """Copy all files of a version into an empty folder. Raises ModelError."""
        ...


def safe_path(place: str, name: str) -> str:
    """The relative path of a version's file as a source gives it. Raises ModelError if it leads out of the folder."""
    parts = name.split("/")
    if name.isprintable() and "\\" not in name and not any(part in ("", ".", "..") for part in parts):
        return name
    raise ModelError(
        f"{place} holds a file {name!r}, whose name leads out of its folder or is no plain text; rename it"
    )


def without_secrets(text: str) -> str:
    """A text with URLs, for messages: what stands before an `@` may be a password."""
    return re.sub(r"//[^/@\s]*@", "//…@", text)
