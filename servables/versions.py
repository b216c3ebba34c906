"""Judge a version folder: is it whole, still being written, or damaged?"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from configs.errors import ModelError
from servables.digests import Digests, check_digests, misfits, read_digests
from servables.files import TEMPORARY, artifact, tree

QUIET_S = 5.0
"""Seconds without any change after which a version without digests counts.

Tools that copy write many times a second; a network that loses four packets in a row pauses them for 3 s (TCP waits
0.2, 0.4, 0.8 and 1.6 s), and an NFS client may show a file's state 3 s late (`acregmin`). Both fit in.
"""


class State(StrEnum):
    """What can be said about a version folder."""

    WHOLE = "whole"
    WAITING = "waiting"
    """Complete as far as one can see, but changed a moment ago, and without digests."""
    BROKEN = "not whole"


@dataclass(frozen=True)
class Judgement:
    """State of a version folder, with the reason unless it is whole."""

    state: State
    reason: str = ""
    quiet_in_s: float = 0.0
    """Seconds until a waiting version counts, if nothing changes."""
    size: int | None = None
    """Bytes of the version's files; unknown if it is not whole."""
    digests: Digests | None = None
    fingerprint: str = ""
    """In hexadecimal: another one is another content. Of a version without digests a copy has another one too."""


@dataclass(frozen=True)
class Contents:
    """A version folder in which nothing is known to be missing."""

    files: Mapping[str, int]
    """Path relative to the folder → bytes."""
    digests: Digests | None
    changed: float
    """When something in it changed last, in seconds since 1970."""

    @property
    def fingerprint(self) -> str:
        """As `Judgement.fingerprint`: of the files' contents where they are known, else of names, sizes and times."""
        if self.digests is not None:
            return self.digests.digest
        return hashlib.sha256(repr((sorted(self.files.items()), self.changed)).encode()).hexdigest()


def judge(folder: Path, now: float) -> Judgement:
    """Judge by names, sizes and times; contents are not read.

    Args:
        now: seconds since 1970.
    """
    try:
        contents = read_contents(folder)
    except ModelError as error:
        return Judgement(State.BROKEN, error.message)
    size = sum(contents.files.values())
    left = contents.changed + QUIET_S - now
    if contents.digests is None and left > 0:
        reason = f"{folder} changed {now - contents.changed:.1f} s ago; without digests it counts after {QUIET_S:g} s"
        return Judgement(State.WAITING, reason, min(left, QUIET_S), size, fingerprint=contents.fingerprint)
    return Judgement(State.WHOLE, size=size, digests=contents.digests, fingerprint=contents.fingerprint)


def read_contents(folder: Path) -> Contents:
    """The files of a version folder. Raises ModelError if it is known not to be whole, or holds what it must not."""
    found = tree(folder)
    files = artifact(found)
    if not files:
        raise ModelError(f"{folder} is empty; put the model's files in it, or remove it")
    digests = read_digests(folder)
    if digests is None:
        unfinished = sorted(name for name in found if name.lower().endswith(TEMPORARY))
        problem = f"{', '.join(unfinished[:3])} is still being written" if unfinished else ""
    else:
        problem = "; ".join(list(misfits(digests, files))[:3])
    if problem:
        raise ModelError(f"{folder}: {problem}; let its writer end, or remove the folder and push again")
    # The time of the last change of content, name or owner: unlike that of the last write, copying tools cannot set it.
    changed = max(status.st_ctime for status in found.values())
    return Contents(files, digests, changed)


def verify(folder: Path) -> Digests | None:
    """Check that a version is what was pushed, contents included; gives its digests, or None if it carries none.

    Raises ModelError naming the first file that is missing, too short, added, changed, or leads out of the folder.
    """
    digests = read_contents(folder).digests
    if digests is not None:
        check_digests(folder, digests)
    return digests
