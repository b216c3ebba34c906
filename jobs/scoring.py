"""Rows through a link: all that are good come out, each bad one is named with its reason."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from configs.errors import InvalidInput, NodeError, RowErrors
from graphs.executor import Executor
from graphs.frame import Frame


@dataclass
class Piece:
    """Rows that stay together: what is known of them, and where in their part they were read."""

    frame: Frame
    places: np.ndarray
    """INT64 [rows], rising."""


@dataclass
class Scored:
    """What came of pieces."""

    pieces: list[Piece] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    """Place → reason."""


async def score(executor: Executor, pieces: list[Piece]) -> Scored:
    """Run the executor's steps on pieces, all at the same time: its nodes take rows of several into one call.

    A piece that fails is halved until its bad rows are alone, or divided as RowErrors say.

    Raises:
        MillraceError: what is no row's fault, as a model that is gone.
    """
    scored = Scored()
    for each in await asyncio.gather(*(_score(executor, piece) for piece in pieces)):
        scored.pieces += [piece for piece in each.pieces if len(piece.places)]
        scored.bad |= each.bad
    return scored


async def _score(executor: Executor, piece: Piece) -> Scored:
    rows = np.arange(len(piece.places))
    advanced = piece.frame.take(rows)  # what a try that fails leaves behind must not be seen by the next
    try:
        await executor.advance(advanced)
    except RowErrors as error:
        bad = {int(piece.places[row]): why for row, why in error.reasons.items()}
        rest = await _again(executor, piece, [np.setdiff1d(rows, list(error.reasons))])
        return Scored(rest.pieces, rest.bad | bad)
    except (InvalidInput, NodeError) as error:
        if len(rows) == 1:
            return Scored(bad={int(piece.places[0]): error.message})
        return await _again(executor, piece, np.array_split(rows, 2))
    return Scored([Piece(advanced, piece.places)])


async def _again(executor: Executor, piece: Piece, parts: list[np.ndarray]) -> Scored:
    pieces = [Piece(piece.frame.take(rows), piece.places[rows]) for rows in parts if len(rows)]
    return await score(executor, pieces)


def cut(frame: Frame, places: np.ndarray, rows: int) -> list[Piece]:
    """Pieces of so many rows each, the last one of fewer."""
    starts = range(0, len(places), rows)
    ranges = [np.arange(start, min(start + rows, len(places))) for start in starts]
    return [Piece(frame.take(each), places[each]) for each in ranges]
