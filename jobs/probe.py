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

    Nodes of which too little is found out are left out.

    Args:
        reader: makes pieces of as many rows as are tried, as `links` can take them.

    Raises:
        MillraceError: a model does not load.
    """
    part = next(iter(reader(unit)), None)
    piece = _largest(part.pieces) if part is not None else None
    if piece is None:
        return {}
    made = [ray.remote(num_cpus=link.cpus, num_gpus=link.gpus)(_Trial).remote(link, root, versions) for link in links]
    found: dict[str, int] = {}
    try:
        for link, trial in zip(links, made, strict=True):  # they all load at the same time
            rows, piece = ray.get(trial.of.remote(piece))
            if rows is not None:
                found |= dict.fromkeys(link.nodes, rows)
            if piece is None:
                break
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

    def of(self, piece: Piece) -> tuple[int | None, Piece | None]:
        """The rows that a call should take, and what the next link gets."""
        answered: list[Piece] = []
        rows = best_rows(piece, lambda some: answered.extend(self._working.scored([some]).pieces))
        return rows, _largest(answered)


def _largest(pieces: Sequence[Piece]) -> Piece | None:
    return max(pieces, key=lambda piece: len(piece.places), default=None)


def best_rows(piece: Piece, call: Callable[[Piece], object]) -> int | None:
    """The fewest rows of `SIZES` with nearly the best speed; None: there are too few to tell.

    Args:
        piece: rows to try; no more than it has are tried.
        call: what takes rows; where it fails for many it must try fewer itself, so that it is slow.
    """
    sizes = [size for size in SIZES if size <= len(piece.places)]
    if len(sizes) < 2:
        return None
    speed: dict[int, float] = {}
    for size in sizes:
        rows = np.arange(size)
        seconds = min(_seconds(call, Piece(piece.frame.take(rows), piece.places[rows])) for _ in range(_TRIES))
        speed[size] = size / seconds
        if seconds > _LONGEST_S:
            break
    return min(size for size in speed if speed[size] >= _ENOUGH * max(speed.values()))


def _seconds(call: Callable[[Piece], object], piece: Piece) -> float:
    began = time.perf_counter()
    call(piece)
    return max(time.perf_counter() - began, 1e-9)
