"""The table that every store holds: texts as keys; ten items and their scores as values."""

from collections.abc import Sequence

import numpy as np

from configs.tensors import Rows

WIDTH = 10
ROW = np.dtype([("items", "<i8", (WIDTH,)), ("scores", "<f4", (WIDTH,))])
"""A row as bytes, for stores of bytes."""
_SPREAD = 2_654_435_761
"""Odd, so that numbers below 2**32 stay different; neighbours are no neighbours as keys."""


def key(number: int) -> bytes:
    """The key of a row."""
    return b"user-%010d" % (number * _SPREAD % 2**32)


def values(numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """Rows of `ROW`."""
    rows = np.empty(len(numbers), ROW)
    rows["items"] = np.asarray(numbers)[:, None] * WIDTH + np.arange(WIDTH)
    rows["scores"] = 1 / (rows["items"] % 1000 + 1)
    return rows


def expected(numbers: np.ndarray, count: int) -> Rows:
    """What a store of `count` rows answers: zeros for numbers from `count` on."""
    found = numbers < count
    rows = values(numbers)
    return {"items": rows["items"] * found[:, None], "scores": rows["scores"] * found[:, None], "found": found}
