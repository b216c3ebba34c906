"""The README's requests, as written but for the port, get the answers that it shows."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support.pages import snippets
from tests.support.server import ROOT, Server

MARKER = "run against the demo"


@pytest.mark.proxy("haproxy")
def test_the_curl_line(server: Server) -> None:
    [session] = snippets("README.md", MARKER, "console")
    command, shown = re.fullmatch(r"\$ (curl .*\}')\n(\{.*\})\n", session, re.DOTALL).groups()
    command = command.replace("http://127.0.0.1:8000", server.http)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=True)
    answer, expected = json.loads(done.stdout), json.loads(shown)
    assert answer["label"] == expected["label"]
    assert answer["score"] == pytest.approx(expected["score"], abs=1e-5)


@pytest.mark.proxy("haproxy")
@pytest.mark.parametrize("index", [0, 1], ids=["tritonclient", "handle"])
def test_the_python_snippets(server: Server, index: int) -> None:
    code = snippets("README.md", MARKER, "python")[index]
    code = code.replace("127.0.0.1:8000", server.http.removeprefix("http://"))
    code = code.replace('ray.init("auto")', f'ray.init("{server.ray_address}")')
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    [shown] = re.findall(r"# (\(.*\))", code)
    assert done.stdout.splitlines()[-1] == shown
