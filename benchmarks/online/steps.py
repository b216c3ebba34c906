"""The steps around the networks, in NumPy: every server runs these."""

from typing import ClassVar

import numpy as np

MEAN = np.float32(0.5)
STD = np.float32(0.25)
K = 5


def normalise(x: np.ndarray) -> np.ndarray:
    """FP32 of any shape, shifted and scaled."""
    return (x - MEAN) / STD


def top_k(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The K best of FP32 [rows, classes]: labels INT64 [rows, K] and their scores FP32 [rows, K], best first."""
    label = np.argsort(-scores, axis=1)[:, :K]
    return label, np.take_along_axis(scores, label, axis=1)


def mean(x: np.ndarray) -> np.ndarray:
    """Mean of each row: FP32 [rows, …] → FP32 [rows]."""
    means: np.ndarray = x.reshape(len(x), -1).mean(axis=1)
    return means


class Normalise:
    """`normalise` as a node of a graph."""

    inputs: ClassVar = {"x": "FP32[-1, -1]"}
    outputs: ClassVar = {"x": "FP32[-1, -1]"}

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": normalise(x)}


class Mean:
    """`mean` as a node of a graph."""

    inputs: ClassVar = {"x": "FP32[-1, -1, -1, -1]"}
    outputs: ClassVar = {"mean": "FP32[-1]"}

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": mean(x)}
