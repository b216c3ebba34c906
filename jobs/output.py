"""The folder of a job's output: whose it is, what is finished there, and which run may write to it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import uuid4

from configs.errors import ConfigError
from jobs import manifest, profile
from jobs.finishing import DONE, ERRORS
from jobs.manifest import Manifest
from jobs.tally import Finished
from jobs.units import Unit
from jobs.writing import Place

REPORT = "_report.json"
_FILES = (manifest.FILE, profile.FILE, REPORT)

_OURS = re.compile(
    rf"({DONE}/|{ERRORS}/)?\d{{5,}}-\d{{5,}}\.(parquet|csv|jsonl|json)|{'|'.join(map(re.escape, _FILES))}"
)
"""Names of files that jobs write."""


def check_free(place: Place, overwrite: bool) -> None:
    """Raises ConfigError for a place that holds anything, unless it is a job's output that may be overwritten."""
    there = place.names() if place.exists() else []
    others = [name for name in there if not _OURS.fullmatch(name)]
    if others:
        raise ConfigError(
            f"{place} holds files that are no job's ({', '.join(others[:3])}), which are not overwritten; choose "
            "another --output"
        )
    if there and not overwrite:
        begun = manifest.FILE in there and REPORT not in there
        remedy = "--resume that job, or --overwrite it" if begun else "--overwrite it"
        raise ConfigError(f"{place} holds the output of a job; {remedy}, or choose another --output")


def take(place: Place, job: Manifest, fresh: bool) -> Manifest:
    """From now on this run alone writes here. The job, with the run's name.

    Args:
        fresh: what an other job left goes; else only what its runs did not finish.
    """
    there = place.names() if fresh and place.exists() else []
    # What says that parts are done goes first, what says whose they are last: whoever is killed between can go on.
    for name in sorted(there, key=lambda name: (name == manifest.FILE, not name.startswith(f"{DONE}/"))):
        place.delete(name)
    place.tidy()
    ours = replace(job, run=uuid4().hex)
    manifest.save(ours, place)
    return ours


def finished(place: Place) -> Iterator[Finished]:
    """The parts whose files are whole, one at a time. Raises ConfigError for what no job wrote."""
    for name in place.names(DONE):
        try:
            yield Finished(**place.read_json(name))
        except TypeError as error:
            raise ConfigError(f"{place}/{name} is not what a job wrote ({error}); --overwrite the output") from None


def is_done(unit: Unit, parts: Sequence[Finished]) -> bool:
    """Whether all parts of a unit are finished: the last one is, and each before it."""
    own = {part.name: part.last for part in parts if part.name.startswith(f"{unit.index:05d}-")}
    return any(own.values()) and max(own) == f"{unit.index:05d}-{len(own) - 1:05d}"
