"""Small nodes for graphs in tests."""

import asyncio
import threading
import time
from typing import ClassVar

import numpy as np

from configs.errors import InvalidInput

CALLS: list[tuple[str, int, str]] = []
"""(node, rows, thread) of each call of a recording node."""


class Add:
    """Adds a number; records its calls."""

    inputs: ClassVar = {"x": ("FP32", [-1, 2])}
    outputs: ClassVar = {"y": ("FP32", [-1, 2])}

    def __init__(self, amount: float = 1.0, name: str = "add", sleep_s: float = 0.0) -> None:
        self._amount, self._name, self._sleep_s = amount, name, sleep_s

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        CALLS.append((self._name, len(x), threading.current_thread().name))
        if self._sleep_s:
            time.sleep(self._sleep_s)
        return {"y": x + np.float32(self._amount)}


async def double(x: np.ndarray) -> dict[str, np.ndarray]:
    """A coroutine node."""
    CALLS.append(("double", len(x), threading.current_thread().name))
    await asyncio.sleep(0)
    return {"y": x * np.float32(2)}


double.outputs = {"y": "FP32[-1, 2]"}  # type: ignore[attr-defined]


def positive(x: np.ndarray) -> np.ndarray:
    """A switch's predicate: is the first value above zero?"""
    return x[:, 0] > 0


def refuse_negative(x: np.ndarray) -> dict[str, np.ndarray]:
    """Refuses a call that holds a negative value."""
    if (x < 0).any():
        raise InvalidInput("negative value")
    return {"y": x}


def broken(x: np.ndarray) -> dict[str, np.ndarray]:
    """Fails always."""
    raise RuntimeError("out of order")


def wrong_rows(x: np.ndarray) -> dict[str, np.ndarray]:
    """Loses a row."""
    return {"y": x[1:]}


def not_a_dict(x: np.ndarray) -> np.ndarray:
    """Returns an array instead of named arrays."""
    return x


def spread(members: list[np.ndarray]) -> dict[str, np.ndarray]:
    """A custom ensemble: largest minus smallest member."""
    stacked = np.stack(members)
    return {"spread": stacked.max(axis=0) - stacked.min(axis=0)}
