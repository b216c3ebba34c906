"""A node that ends its process."""

import os

import numpy as np


def exit_at_five(x: np.ndarray) -> dict[str, np.ndarray]:
    """Give `x`, unless a row is five."""
    if (x == 5).any():
        os._exit(9)
    return {"y": x}
