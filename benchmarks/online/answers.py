"""Whether an answer is the right one."""

from collections.abc import Mapping

import numpy as np

TOLERANCE = 1e-5
"""Largest difference between two servers' answers: rows are batched differently, so sums are ordered differently."""

Arrays = Mapping[str, np.ndarray]


def check_answer(workload: str, given: Arrays, answer: Arrays) -> None:
    """Raise ValueError unless all outputs of `answer` are given, within `TOLERANCE`; labels must be equal."""
    for name, expected in answer.items():
        if name not in given or given[name].shape != expected.shape:
            raise ValueError(f"{workload}: output {name} is missing or has another shape in {str(given)[:200]}")
        difference = float(np.abs(given[name] - expected).max())
        if not difference <= TOLERANCE:
            raise ValueError(f"{workload}: output {name} is off by {difference}, more than {TOLERANCE}")
