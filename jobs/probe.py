"""A short trial before a long job: how many rows a call of its nodes should take."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import ray

from jobs.chain import Link
from jobs.cluster import own_error
from jobs.reader import Reader
from jobs.scoring import Piece
from jobs.units import Unit
from jobs.versions import Version
from jobs.working import Working

SIZES = (64, 256, 1024, 4096)
"""Rows of a call that are tried, from few to many."""
_ENOUGH = 0.95
"""The fewest rows are taken that reach so much of the best speed: they need less memory."""
_LONGEST_S = 2.0
"""A call that takes longer is the last that is tried."""
_TRIES = 2


def probe(
    unit: Unit, reader: Reader, links: Sequence[Link], root: Path, versions: Mapping[str, Version]
) -> dict[str, int]:
    """Node → rows of a call, tried on a unit's first rows in processes like the job's own. Ray must be initialised.

    Args:
        reader: makes pieces of as many rows as are tried, as `links` can take them.

    Raises:
        MillraceError: a model does not load.
    """
    part = next(iter(reader(unit)), None)
    piece = part.pieces[0] if part is not None and part.pieces else None
    made = [ray.remote(num_cpus=link.cpus, num_gpus=link.gpus)(_Trial).remote(link, root, versions) for link in links]
    found: dict[str, int] = {}
    try:
        for link, trial in zip(links, made, strict=True):  # they all load at the same time
            if piece is None:
                break
            rows, piece = ray.get(trial.of.remote(piece))
            found |= dict.fromkeys(link.nodes, rows)
    except ray.exceptions.RayError as error:
        raise own_error(error) from error
    finally:
        for trial in made:
            ray.kill(trial)
    return found


class _Trial:
    """A process of a link, before the job."""

    def __init__(self, link: Link, root: Path, versions: Mapping[str, Version]) -> None:
        self._working = Working(link, root, versions)

    def of(self, piece: Piece) -> tuple[int, Piece | None]:
        """The rows that a call should take, and what the next link gets; None if no row has an answer."""
        bad = self._working.scored([piece]).bad
        good = np.flatnonzero(~np.isin(piece.places, list(bad)))
        if not len(good):
            return SIZES[0], None
        fine = Piece(piece.frame.take(good), piece.places[good])
        rows = best_rows(fine, lambda some: self._working.scored([some]))
        return rows, self._working.scored([fine]).pieces[0]


def best_rows(piece: Piece, call: Callable[[Piece], object]) -> int:
    """The fewest rows of `SIZES` with nearly the best speed.

    Args:
        piece: rows to try; no more than it has are tried.
        call: what takes rows; where it fails for many it must try fewer itself, so that it is slow.
    """
    speed: dict[int, float] = {}
    for size in SIZES:
        rows = np.arange(min(size, len(piece.places)))
        seconds = min(_seconds(call, Piece(piece.frame.take(rows), piece.places[rows])) for _ in range(_TRIES))
        speed[size] = len(rows) / seconds
        if seconds > _LONGEST_S or len(rows) < size:
            break
    return min(size for size in speed if speed[size] >= _ENOUGH * max(speed.values()))


def _seconds(call: Callable[[Piece], object], piece: Piece) -> float:
    began = time.perf_counter()
    call(piece)
    return max(time.perf_counter() - began, 1e-9)
