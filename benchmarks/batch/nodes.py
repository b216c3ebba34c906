"""Nodes that are slow by themselves, so that they are what limits on any machine."""

import time
from typing import ClassVar

import numpy as np

from configs.errors import RowErrors

REFUSED = 16
"""A first pixel as dark as this is refused: no digit has one."""


class SlowMean:
    """Mean of each row, at a given speed."""

    inputs: ClassVar = {"x": "FP32[-1, -1]"}
    outputs: ClassVar = {"mean": "FP32[-1]"}

    def __init__(self, rows_per_s: float) -> None:
        self._row_s = 1 / rows_per_s

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(len(x) * self._row_s)
        return {"mean": x.mean(axis=1)}


class SlowCheck:
    """Images as they are, at a given speed; some are refused."""

    inputs: ClassVar = {"image": "UINT8[-1, 8, 8]"}
    outputs: ClassVar = {"image": "UINT8[-1, 8, 8]"}

    def __init__(self, rows_per_s: float) -> None:
        self._row_s = 1 / rows_per_s

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        bad = np.flatnonzero(image[:, 0, 0] == REFUSED)
        if len(bad):
            raise RowErrors({int(row): f"the first pixel is {REFUSED}" for row in bad})
        time.sleep(len(image) * self._row_s)
        return {"image": image}
