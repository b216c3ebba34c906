"""Our server under the conformance suite of `tests/conformance`, which runs as it does against any other server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT, Server

SUITE = ROOT / "tests/conformance"
CLIENTS = Path(f"{sys.prefix}-clients/bin/python")
"""In an environment with the clients' libraries, kserve's among them, and with nothing of ours."""
NOT_YET = ("load",)
"""Capabilities that our server does not have."""


@pytest.mark.proxy("haproxy")
@pytest.mark.timeout(600)
def test_our_server_conforms(server: Server) -> None:
    assert CLIENTS.exists(), f"{CLIENTS} is missing; make it with `make clients`"
    command = [sys.executable, "-m", "pytest", "-q", str(SUITE), f"--http-url={server.http}"]
    command += [f"--grpc-url={server.grpc}", "--with=all", f"--without={','.join(NOT_YET)}", "--strict-models"]
    command += [f"--client-python={CLIENTS}"]
    done = subprocess.run(command, cwd=SUITE, env=suite_environment(), capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert f"{CLIENTS} has no" not in done.stdout, done.stdout  # the suite skips clients that are not installed


def suite_environment() -> dict[str, str]:
    """An environment in which the suite cannot import anything of ours."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
