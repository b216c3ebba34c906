"""Our server under the conformance suite of `tests/conformance`, which runs as it does against any other server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from configs.tensors import Datatype
from tests.support.server import ROOT, Server

SUITE = ROOT / "tests/conformance"
GRAPHS = ROOT / "tests/support/graphs_yaml/conformance"
CLIENTS = Path(f"{sys.prefix}-clients/bin/python")
"""In an environment with the clients' libraries, kserve's among them, and with nothing of ours."""
NOT_YET = ("load",)
"""Capabilities that our server does not have."""


def identity(datatype: Datatype) -> dict:
    """The graph `identity_<datatype>`."""
    tensor = f"{datatype}[-1, -1]"
    same = {"call": "tests.support.conformance_nodes:identity", "inputs": {"INPUT0": "INPUT0"}}
    return {
        "name": f"identity_{datatype.lower()}",
        "inputs": {"INPUT0": tensor},
        "nodes": {"same": same | {"outputs": {"OUTPUT0": tensor}}},
        "outputs": {"OUTPUT0": "same.OUTPUT0"},
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the suite's models."""
    folder = tmp_path_factory.mktemp("conformance")
    graphs = sorted(GRAPHS.glob("*.yaml"))
    for datatype in Datatype:
        path = folder / f"identity_{datatype.lower()}.yaml"
        path.write_text(yaml.safe_dump(identity(datatype)))
        graphs.append(path)
    running = Server("haproxy", folder)
    running.config["applications"][0]["args"] |= {"graphs": list(map(str, graphs)), "routers": []}
    running.start()
    yield running
    running.stop()


@pytest.mark.timeout(600)
def test_our_server_conforms(models: Server) -> None:
    assert CLIENTS.exists(), f"{CLIENTS} is missing; make it with `make clients`"
    command = [sys.executable, "-m", "pytest", "-q", str(SUITE), f"--http-url={models.http}"]
    command += [f"--grpc-url={models.grpc}", "--with=all", f"--without={','.join(NOT_YET)}", "--strict-models"]
    command += [f"--client-python={CLIENTS}"]
    done = subprocess.run(command, cwd=SUITE, env=suite_environment(), capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert f"{CLIENTS} has no" not in done.stdout, done.stdout  # the suite skips clients that are not installed


def suite_environment() -> dict[str, str]:
    """An environment in which the suite cannot import anything of ours."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
