"""Options, the doors of the server under test, and which tests apply to it."""

import os
from collections.abc import Callable, Iterator
from functools import cache

import grpc
import httpx
import pytest
import rest as rest_module
import rpc as rpc_module
from capabilities import EXTENSIONS, chosen
from messages import message
from rest import Rest
from rpc import Rpc


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the server is and what it can do; each option has an environment variable for its default."""
    group = parser.getgroup("Open Inference Protocol")

    def add(name: str, help_: str, default: str = "") -> None:
        variable = "OIP_" + name.upper().replace("-", "_")
        default = os.environ.get(variable, default)
        group.addoption(f"--{name}", default=default, help=f"{help_} [{variable}]")

    names = ", ".join(EXTENSIONS)
    add("http-url", "where /v2 is, e.g. http://127.0.0.1:8000; without it HTTP is not tested")
    add("grpc-url", "host:port of gRPC; without it gRPC is not tested")
    add("with", f"capabilities to test though the server does not announce them, or `all`: {names}")
    add("without", "capabilities not to test though the server announces them")
    add("http-header", "headers of each HTTP request: `Host: a.example; X-Key: 1`")
    add("grpc-metadata", "metadata of each gRPC call: `application: a; key: 1`")
    add("client-python", "Python interpreter that has the client libraries; by default the one that runs the suite")
    add("request-timeout", "seconds of a request", "30")
    group.addoption("--any-error", action="store_true", help="a wrong request may also get a 5xx, or any gRPC code")
    group.addoption("--strict-models", action="store_true", help="a missing model is a failure, not a skip")


def pytest_configure(config: pytest.Config) -> None:
    """Apply --any-error."""
    if config.getoption("--any-error"):
        rest_module.refusals = range(400, 600)
        rpc_module.any_code = True


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = (item.partition(":") for item in text.split(";") if item.strip())
    return [(name.strip(), value.strip()) for name, _, value in pairs]


@pytest.fixture(scope="session")
def timeout_s(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("--request-timeout"))


@pytest.fixture(scope="session")
def maybe_rest(pytestconfig: pytest.Config, timeout_s: float) -> Iterator[Rest | None]:
    url = pytestconfig.getoption("--http-url")
    if not url:
        yield None
        return
    rest = Rest(url, dict(_pairs(pytestconfig.getoption("--http-header"))), timeout_s)
    yield rest
    rest.client.close()


@pytest.fixture(scope="session")
def maybe_rpc(pytestconfig: pytest.Config, timeout_s: float) -> Iterator[Rpc | None]:
    target = pytestconfig.getoption("--grpc-url")
    if not target:
        yield None
        return
    rpc = Rpc(target, _pairs(pytestconfig.getoption("--grpc-metadata")), timeout_s)
    yield rpc
    rpc.channel.close()


@pytest.fixture
def rest(maybe_rest: Rest | None) -> Rest:
    """The HTTP door."""
    if maybe_rest is None:
        pytest.skip("no --http-url")
    return maybe_rest


@pytest.fixture
def rpc(maybe_rpc: Rpc | None) -> Rpc:
    """The gRPC door."""
    if maybe_rpc is None:
        pytest.skip("no --grpc-url")
    return maybe_rpc


@pytest.fixture(scope="session")
def capabilities(pytestconfig: pytest.Config, maybe_rest: Rest | None, maybe_rpc: Rpc | None) -> set[str]:
    """What is tested: announced by the server, plus --with, minus --without."""
    if maybe_rest is not None:
        extensions = maybe_rest.get("/v2").json()["extensions"]
    elif maybe_rpc is not None:
        extensions = maybe_rpc.call("ServerMetadata").extensions
    else:
        raise pytest.UsageError("give --http-url, --grpc-url or both")
    return chosen(extensions, pytestconfig.getoption("--with"), pytestconfig.getoption("--without"))


@pytest.fixture(scope="session")
def has_model(maybe_rest: Rest | None, maybe_rpc: Rpc | None) -> Callable[[str], bool]:
    """Whether the server has a model, ready."""

    @cache
    def ready(name: str) -> bool:
        if maybe_rest is not None:
            return maybe_rest.get(f"/v2/models/{name}/ready").status_code == 200
        assert maybe_rpc is not None
        try:
            return bool(maybe_rpc.call("ModelReady", message("ModelReadyRequest")(name=name)).ready)
        except grpc.RpcError:
            return False

    return ready


@pytest.fixture(autouse=True)
def _server_is_there(request: pytest.FixtureRequest, maybe_rest: Rest | None) -> None:
    """End the run when the server has died: hundreds of failures would hide which test did it."""
    if maybe_rest is not None:
        try:
            maybe_rest.get("/v2/health/live")
        except httpx.ConnectError as error:
            pytest.exit(f"no connection to {maybe_rest.url} before {request.node.nodeid}: {error}", returncode=3)


@pytest.fixture(autouse=True)
def _applies(request: pytest.FixtureRequest, capabilities: set[str], has_model: Callable[[str], bool]) -> None:
    """Skip what the server does not offer."""
    needed = {name for mark in request.node.iter_markers("needs") for name in mark.args}
    assert needed <= set(EXTENSIONS), f"unknown capability in {needed}"
    if missing := needed - capabilities:
        pytest.skip(f"not announced, not in --with: {', '.join(sorted(missing))}")
    models = {name for mark in request.node.iter_markers("model") for name in mark.args}
    if absent := [name for name in sorted(models) if not has_model(name)]:
        leave = pytest.fail if request.config.getoption("--strict-models") else pytest.skip
        leave(f"the server has no model {', '.join(absent)}")
