"""Fixtures for every rung of the ladder. Unit tests use none of this: nothing here imports Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server, train_demo
from tests.support.shared import KINDS

PROXIES = ("haproxy", "python")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The length of fuzzing tests: short unless it is asked for more."""
    parser.addoption("--fuzz", type=int, default=4, help="requests to each operation of /openapi.json, of each kind")


def pytest_configure(config: pytest.Config) -> None:
    """Register our marks."""
    config.addinivalue_line(
        "markers", "proxy(*names): the shared servers to run with; those behind both proxies without it"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses a server behind both proxies, unless its mark `proxy` names those that it needs."""
    if "server" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("proxy")
        # The session's scope makes pytest run all tests of one server, then those of the next.
        metafunc.parametrize("server", mark.args if mark else PROXIES, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a server may wait for its start."""
    for item in items:
        if "server" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(420))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with the graphs of the tests; one at a time."""
    train_demo()
    running = KINDS[request.param](tmp_path_factory.mktemp(request.param))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[1]
