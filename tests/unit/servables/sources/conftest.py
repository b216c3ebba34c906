"""Models in stores, and an MLflow registry in a file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from servables.push import push_model

Push = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder that stands for what a URL leads to."""
    return tmp_path / "store"


@pytest.fixture
def push(store: Path, tmp_path: Path) -> Push:
    """Publish a version of the model `m` there, with a text as its only file."""

    def push(number: int, text: str = "tree") -> None:
        source = tmp_path / "model.txt"
        source.write_text(text)
        push_model(source, "m", store, number, options=None)

    return push
