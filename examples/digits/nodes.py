"""The demo's own node: pixels to what both models take."""

from typing import ClassVar

import numpy as np


class Scale:
    """Pixels UINT8 [-1, 8, 8] of 0…16 → `x` FP32 [-1, 1, 8, 8] of 0…1."""

    inputs: ClassVar = {"image": ("UINT8", [-1, 8, 8])}
    outputs: ClassVar = {"x": ("FP32", [-1, 1, 8, 8])}

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Scale each row and give it one channel."""
        return {"x": image[:, None] * np.float32(1 / 16)}
