"""Clients as their makers publish them, each in a process of its own: they register the same protobuf names."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "clients"
CLIENTS = {
    "triton_http": ("tritonclient.http", "http"),
    "triton_http_aio": ("tritonclient.http.aio", "http"),
    "triton_grpc": ("tritonclient.grpc", "grpc"),
    "triton_grpc_aio": ("tritonclient.grpc.aio", "grpc"),
    "kserve_rest": ("kserve", "http"),
    "kserve_grpc": ("kserve", "grpc"),
}
"""Script → the module that it uses, and its door."""
MODELS = ("simple", "simple_string", "identity_bf16", "sequence_sum", "repeat_int32")
# Nothing of the surrounding project may be importable, nor may a proxy stand between.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONPATH" and "proxy" not in name.lower()
}


@pytest.mark.parametrize("script", CLIENTS)
def test_client(
    pytestconfig: pytest.Config, capabilities: set[str], has_model: Callable[[str], bool], script: str
) -> None:
    """No section of a specification: whoever wrote for Triton or KServe comes with one of these libraries."""
    module, door = CLIENTS[script]
    address = pytestconfig.getoption(f"--{door}-url").split("://")[-1].rstrip("/")
    if not address:
        pytest.skip(f"no --{door}-url")
    python = pytestconfig.getoption("--client-python") or sys.executable
    if subprocess.run([python, "-c", f"import {module}"], env=ENVIRONMENT, capture_output=True).returncode:
        pytest.skip(f"{python} has no {module}")
    can = [*capabilities, *(f"model:{name}" for name in MODELS if has_model(name))]
    command = [python, str(SCRIPTS / f"{script}.py"), address, ",".join(can)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: " in done.stdout, done.stdout
