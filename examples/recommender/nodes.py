"""The demo's own node: nobody is recommended what he is looking at."""

from typing import ClassVar

import numpy as np

FOUND = 11
GIVEN = 10


class Others:
    """The first 10 of 11 `ids` and their `scores` that are not the row's own `id`."""

    inputs: ClassVar = {"id": ("BYTES", [-1]), "ids": ("BYTES", [-1, FOUND]), "scores": ("FP32", [-1, FOUND])}
    outputs: ClassVar = {"ids": ("BYTES", [-1, GIVEN]), "scores": ("FP32", [-1, GIVEN])}

    def __call__(self, id: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        """The nearest first."""
        others = np.argsort(ids == id[:, None], axis=1, kind="stable")[:, :GIVEN]
        return {"ids": np.take_along_axis(ids, others, 1), "scores": np.take_along_axis(scores, others, 1)}
