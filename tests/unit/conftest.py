"""Fixtures of the unit tests."""

import pytest
from hypothesis import settings

from tests.support.server import train_demo

# The same examples in every run, and no clock: a busy machine must not fail a test.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def no_quiet_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model versions that a test writes count at once."""
    monkeypatch.setattr("servables.versions.QUIET_S", 0.0)


@pytest.fixture(scope="session")
def demo_models() -> None:
    """The demo's models in `models/`; trained unless they are there."""
    train_demo()
