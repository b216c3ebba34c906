"""A real cluster with HAProxy: it is its own, it answers, and Ctrl-C leaves nothing of it and touches nobody else."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = """
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class App:
    async def __call__(self, request):
        return {"path": request.url.path}

def build(args: dict):
    return App.bind()
"""
RUN = (
    "import sys; from pathlib import Path; from cluster.local import run_local; sys.exit(run_local(Path('serve.yaml')))"
)


@pytest.fixture
def port(tmp_path: Path) -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    (tmp_path / "tiny.py").write_text(APP)
    text = f"http_options: {{host: 127.0.0.1, port: {port}}}\napplications:\n- import_path: tiny:build\n"
    (tmp_path / "serve.yaml").write_text(text)
    return port


@pytest.fixture
def bystander(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process named haproxy that is none of the cluster's business."""
    haproxy = tmp_path / "haproxy"
    haproxy.symlink_to("/bin/sleep")
    with subprocess.Popen([haproxy, "1000"]) as process:
        yield process
        process.kill()


def wait_ready(run: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 150
    while "Ready" not in log.read_text():
        assert run.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def session_of(run: subprocess.Popen[bytes]) -> dict[int, str]:
    """Processes (pid → command line) in the session of the run's one child."""
    child = int(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text())
    return {pid: command for pid, session, command in processes() if session == child}


def processes() -> Iterator[tuple[int, int, str]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if fields[0] != "Z":
            yield int(stat.parent.name), int(fields[3]), command


def test_a_cluster_of_its_own_that_leaves_nothing(
    port: int, bystander: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    # Whoever followed this address would fail: nobody listens there.
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1", "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("wb") as output:
        run = subprocess.Popen([sys.executable, "-c", RUN], cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        wait_ready(run, log)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models") as answer:
            assert json.load(answer) == {"path": "/v2/models"}
        started = session_of(run)
        # Two of them for a moment after a route came: the new one, and the old one that drains.
        haproxies = [command for command in started.values() if "/bin/haproxy " in command]
        [config] = {Path(word) for command in haproxies for word in command.split() if word.endswith("/haproxy.cfg")}
        assert config.exists()
        assert len(started) > 5
    finally:
        run.send_signal(signal.SIGINT)
        code = run.wait(60)
    assert code == 0
    assert not [pid for pid, _, command in processes() if pid in started or str(config) in command]
    assert not config.parents[2].exists()
    assert bystander.poll() is None
