"""How many rows a call should take: found by trying."""

import numpy as np
import pytest

from graphs.flat import Edge
from graphs.frame import Frame
from jobs.probe import SIZES, best_rows
from jobs.scoring import Piece

ROWS = SIZES[-1]
PER_CALL_S, PER_ROW_S = 0.02, 0.0001


class Clock:
    """Goes on when it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The probe's."""
    made = Clock()
    monkeypatch.setattr("jobs.probe.time", made)
    return made


def piece(rows: int = ROWS) -> Piece:
    frame = Frame(rows, (), {}, {})
    frame.put(Edge("", "x"), np.zeros(rows, np.float32))
    return Piece(frame, np.arange(rows))


@pytest.mark.parametrize(
    ("per_call", "per_row", "most", "best"),
    [
        (PER_CALL_S, 0, ROWS, SIZES[-1]),  # what a call costs is shared by its rows
        (0, PER_ROW_S, ROWS, SIZES[0]),  # more rows make nothing quicker
        (PER_CALL_S, 0, 256, SIZES[1]),  # more do not fit: they are called again in halves
    ],
)
def test_the_fewest_rows_that_are_nearly_the_quickest(
    clock: Clock, per_call: float, per_row: float, most: int, best: int
) -> None:
    def call(some: Piece) -> None:
        rows = len(some.places)
        tries = 1 if rows <= most else 1 + 2 * rows // most
        clock.now += per_call * tries + per_row * rows

    assert best_rows(piece(), call) == best


def test_no_more_rows_are_tried_than_there_are(clock: Clock) -> None:
    seen = []

    def call(some: Piece) -> None:
        seen.append(len(some.places))
        clock.now += PER_CALL_S

    assert best_rows(piece(300), call) == SIZES[1]
    assert set(seen) == {64, 256}
    assert best_rows(piece(100), call) is None


def test_a_slow_node_is_not_asked_for_more(clock: Clock) -> None:
    def call(some: Piece) -> None:
        assert len(some.places) == SIZES[0]
        clock.now += 5

    assert best_rows(piece(), call) == SIZES[0]
