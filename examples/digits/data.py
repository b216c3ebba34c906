"""The digits: scikit-learn's bundled handwritten digits, split the same way every time."""

from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from examples.digits.nodes import Scale


@dataclass(frozen=True)
class Split:
    """Scaled images FP32 [n, 1, 8, 8] and their labels INT64 [n]."""

    x: np.ndarray
    label: np.ndarray


def load() -> tuple[Split, Split]:
    """Digits to train on (three quarters) and digits held out, with every label in both alike."""
    digits = load_digits()
    x = Scale()(digits.images.astype(np.uint8))["x"]
    label = digits.target.astype(np.int64)
    x_train, x_held, y_train, y_held = train_test_split(x, label, test_size=0.25, random_state=0, stratify=label)
    return Split(x_train, y_train), Split(x_held, y_held)
