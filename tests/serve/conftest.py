"""Fixtures for tests of what waits, what leaves and what fails."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

THREADS = 64


@pytest.fixture(params=["gated", "gated-placed"])
def graph(request: pytest.FixtureRequest) -> str:
    """The same node inside the gateway, and in a process of its own."""
    return str(request.param)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """While this file exists, the node's call does not return."""
    path = tmp_path / "gate"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait."""
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool
