"""The k best classes of each row of scores, with their names where a label file is given."""

from pathlib import Path

import numpy as np

from configs.errors import ConfigError
from configs.tensors import Rows


class TopK:
    """Scores → the k largest, best first; of equal scores the class with the lowest index comes first.

    NaN ranks below every number. Input `scores` FP32 [-1, C]; outputs `label` INT64 [-1, k], `score`
    FP32 [-1, k] and, with a label file, `name` BYTES [-1, k].

    Args:
        k: how many classes each row gets.
        labels: a UTF-8 text file with the name of one class a line, class 0 first.

    Raises:
        ConfigError: k is below 1 or above the number of labels, or the label file cannot be read.
    """

    def __init__(self, k: int = 1, labels: str | None = None) -> None:
        self._k = k
        self._path = labels
        self._names = None if labels is None else _read_labels(Path(labels))
        classes = -1 if self._names is None else len(self._names)
        if k < 1:
            raise ConfigError(f"k is {k}; TopK gives at least 1 class a row")
        if 0 < classes < k:
            raise ConfigError(f"k is {k}, but {labels} names only {classes} classes; give k at most that")
        self.inputs = {"scores": ("FP32", [-1, classes])}
        self.outputs = {"label": ("INT64", [-1, k]), "score": ("FP32", [-1, k])}
        if self._names is not None:
            self.outputs["name"] = ("BYTES", [-1, k])

    def __call__(self, scores: np.ndarray) -> Rows:
        """Rank each row of `scores`. Raises ValueError if there are fewer than k classes, or not one a label."""
        self._check(scores)
        label = _best(scores, self._k)
        answer = {"label": label, "score": np.take_along_axis(scores, label, axis=1)}
        if self._names is not None:
            answer["name"] = self._names[label]
        return answer

    def _check(self, scores: np.ndarray) -> None:
        if scores.ndim != 2:
            raise ValueError(f"scores have the shape {list(scores.shape)}; TopK takes [rows, classes]")
        classes = scores.shape[1]
        if classes < self._k:
            raise ValueError(f"k is {self._k}, but the scores have {classes} classes; give k at most that")
        if self._names is not None and classes != len(self._names):
            raise ValueError(
                f"the scores have {classes} classes, but {self._path} names {len(self._names)}; they must be as many"
            )


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Indices INT64 [rows, k] of the k largest scores of each row, without sorting all classes."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    best: np.ndarray
    if k == 1:
        best = scores.argmax(axis=1)[:, None]
        return best
    classes = scores.shape[1]
    least = np.partition(scores, classes - k, axis=1)[:, classes - k, None]
    rows, columns = np.nonzero(scores >= least)  # k a row, more where several equal the k-th
    order = np.lexsort((columns, -scores[rows, columns], rows))
    first = np.searchsorted(rows, np.arange(len(scores)))
    best = columns[order][first[:, None] + np.arange(k)]
    return best


def _read_labels(path: Path) -> np.ndarray:
    """The lines of a label file as BYTES [classes]."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the label file {path}: {error}; it is UTF-8 text, one class a line") from error
    if not lines:
        raise ConfigError(f"the label file {path} is empty; write one class a line")
    return np.array([line.strip().encode() for line in lines], dtype=object)
