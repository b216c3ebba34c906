"""Fixtures of the unit tests."""

import pytest

from tests.support.server import train_demo


@pytest.fixture(scope="session")
def demo_models() -> None:
    """The demo's models in `models/`; trained unless they are there."""
    train_demo()
