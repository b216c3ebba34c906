"""The items nearest to a vector, found by comparing it with all of them."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

Metric = Literal["cosine", "inner_product", "l2"]

LONGEST = 1e15
"""Greatest length of a vector: products of two, and squares of differences, stay in FP32."""
_BLOCK = 1 << 24
"""Most scores that are held at once: 64 MB."""
_RANKED = 1 << 14
"""Most items whose vectors are gathered at once."""
_ROUNDING = float(np.finfo(np.float32).eps)
_LEAST = float(np.finfo(np.float32).tiny)
"""Smaller results lose digits, or are zero."""


@dataclass(frozen=True)
class Vectors:
    """Vectors of all items.

    Args:
        matrix: FP32 [items, dimensions]; of length 1 each for the metric cosine.
        squares: FP32 [items], the squares of their lengths; empty unless the metric is l2.
        longest: no vector is longer; NaN or infinite if any value is.
    """

    matrix: np.ndarray
    metric: Metric
    squares: np.ndarray
    longest: float

    @classmethod
    def of(cls, matrix: np.ndarray, metric: Metric) -> Self:
        """With lengths computed; reads the whole matrix once."""
        with np.errstate(all="ignore"):  # what is not finite shows in the greatest
            squares = np.einsum("nd,nd->n", matrix, matrix)
            longest = float(np.sqrt(float(squares.max()) + 2 * matrix.shape[1] * _LEAST))  # tiny ones' squares are 0
        kept = squares if metric == "l2" else np.empty(0, np.float32)
        return cls(matrix, metric, kept, longest)

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions INT64 [rows, k] and scores FP32 [rows, k] of the k nearest items, the nearest first.

        Scores: see `ranked`. All vectors are compared in FP32; whoever is among the nearest within the rounding of that
        is compared again in FP64. So the answer is exact, does not depend on the other rows, and of items that are
        equally near the one that was written first comes first.

        Args:
            queries: FP32 [rows, dimensions], finite, of length 1 for the metric cosine.
        """
        positions = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        rows = max(1, _BLOCK // len(self.matrix))
        for start in range(0, len(queries), rows):
            block = queries[start : start + rows]
            for row, (near, slack) in enumerate(zip(self._compared(block), self._slack(block), strict=True), start):
                least = np.partition(near, len(near) - k)[len(near) - k] - slack
                positions[row], scores[row] = self.ranked(queries[row], np.flatnonzero(near >= least), k)
        return positions, scores

    def ranked(self, query: np.ndarray, candidates: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores of the k nearest of some items, the nearest first.

        Scores are greater the nearer: the inner product, the cosine, or minus the distance.
        """
        pieces = range(0, len(candidates), _RANKED)
        exact = np.concatenate([self._scores(query, candidates[start : start + _RANKED]) for start in pieces])
        best = np.lexsort((candidates, -exact))[:k]
        return candidates[best], exact[best].astype(np.float32)

    def _compared(self, queries: np.ndarray) -> np.ndarray:
        """FP32 [rows, items], greater the nearer."""
        products = queries @ self.matrix.T
        if self.metric == "l2":  # |q − x|² = |q|² − (2qx − |x|²)
            products *= 2
            products -= self.squares
        return np.asarray(products)

    def _slack(self, queries: np.ndarray) -> np.ndarray:
        """By how much what was compared in FP32 may be wrong, twice: [rows]."""
        lengths = np.linalg.norm(queries.astype(np.float64), axis=1) * self.longest
        sums = 2 * lengths + self.longest**2 if self.metric == "l2" else lengths
        # Of each product and sum at most _LEAST is lost; the metric l2 has three times as many.
        return np.asarray(2 * (self.matrix.shape[1] + 4) * (_ROUNDING * sums + 6 * _LEAST))

    def _scores(self, query: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        near, exact = self.matrix[candidates].astype(np.float64), query.astype(np.float64)
        if self.metric == "l2":
            return np.asarray(-np.sqrt(((near - exact) ** 2).sum(axis=1)))
        return np.asarray((near * exact).sum(axis=1))
