"""The folder of a job's output: whose it is, what is finished there, and which run may write to it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
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
    others = [name for name in there if manifest.FILE not in there or not _OURS.fullmatch(name)]
    if others:
        raise ConfigError(
            f"{place} holds files that are no job's ({', '.join(others[:3])}), which are not overwritten; choose "
            "another --output"
        )
    if there and not overwrite:
        remedy = "--overwrite it" if REPORT in there else "--resume that job, or --overwrite it"
        raise ConfigError(f"{place} holds the output of a job; {remedy}, or choose another --output")


def check_outside(place: Place, units: Iterable[Unit]) -> None:
    """Raises ConfigError if an input lies in the output."""
    for unit in units:
        if unit.name.startswith(f"{place}/"):
            raise ConfigError(f"{unit.name} is an input, and lies in the output {place}; choose another --output")


def take(place: Place, job: Manifest, fresh: bool) -> Manifest:
    """From now on this run alone writes here. The job, with the run's name.

    Args:
        fresh: what an other job left goes; else only what its runs did not finish.
    """
    ours = replace(job, run=uuid4().hex)
    if fresh:
        manifest.claim(place, ours.run)  # first: who wrote here until now ends before its files are listed
        there = [name for name in place.names() if name != manifest.FILE]
        for name in sorted(there, key=lambda name: not name.startswith(f"{DONE}/")):  # the words that parts are whole
            place.delete(name)
    place.tidy()
    manifest.save(ours, place)
    return ours


def finished(place: Place) -> Iterator[Finished]:
    """The parts whose files are whole, one at a time. Raises ConfigError for what no job wrote."""
    for name in place.names(DONE):
        try:
            yield Finished(**place.read_json(name))
        except TypeError as error:
            raise ConfigError(f"{place}/{name} is not what a job wrote ({error}); --overwrite the output") from None


def done_units(parts: Iterable[Finished]) -> frozenset[int]:
    """Indices of the units of which all parts are finished: the last one is, and each before it."""
    counts, lasts = Counter[int](), dict[int, int]()
    for part in parts:
        unit, number = map(int, part.name.split("-"))
        counts[unit] += 1
        if part.last:
            lasts[unit] = number
    return frozenset(unit for unit, last in lasts.items() if counts[unit] == last + 1)
