"""A run of a serve config, with a small server in the place of Serve: start, failure, and both ways to stop."""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from cluster import local
from cluster.local import run_local
from configs.errors import ConfigError

SERVER = """
import http.server, os, subprocess, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        print("one request", flush=True)
    def log_message(self, *args): pass
orphan = subprocess.Popen(["sleep", "1000"], start_new_session=True)
print(os.environ["RAY_TMPDIR"], os.environ.get("RAY_ADDRESS"), orphan.pid, file=open(sys.argv[2], "w"))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def config(tmp_path: Path, port: int) -> Path:
    (tmp_path / "graph.yaml").write_text(
        "{name: g, inputs: {x: 'FP32[-1]'}, outputs: {y: n.y}, nodes: {n: {call: 'm:f', inputs: {x: x}}}}"
    )
    path = tmp_path / "serve.yaml"
    path.write_text(
        f"http_options: {{host: 127.0.0.1, port: {port}}}\napplications:\n"
        f"- {{import_path: deployments.app:build, args: {{graphs: [graph.yaml], root: {tmp_path}}}}}\n"
    )
    return path


def replace_serve(monkeypatch: pytest.MonkeyPatch, *command: str) -> None:
    monkeypatch.setattr(local, "_command", lambda _: list(command))


def signals_when_ready(capsys: pytest.CaptureFixture[str], *numbers: int) -> None:
    """Once the run says that it is ready, send ourselves these signals, half a second apart."""

    def send() -> None:
        while "Ready" not in capsys.readouterr().out:
            time.sleep(0.05)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    threading.Thread(target=send, daemon=True).start()


def gone(pid: str) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or ") Z " in stat.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_and_is_a_success(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    config: Path,
    port: int,
    number: int,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    note, before = tmp_path / "note", signal.getsignal(signal.SIGINT)
    replace_serve(monkeypatch, sys.executable, "-c", SERVER, str(port), str(note))
    signals_when_ready(capsys, number)
    assert run_local(config) == 0
    folder, address, orphan = note.read_text().split()
    assert address == "None"
    assert not Path(folder).exists()
    assert gone(orphan)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_does_not_wait_for_serve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, config: Path, port: int
) -> None:
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + SERVER
    replace_serve(monkeypatch, sys.executable, "-c", deaf, str(port), str(tmp_path / "note"))

    signals_when_ready(capsys, signal.SIGINT, signal.SIGINT)
    before = time.monotonic()
    assert run_local(config) == 0
    assert time.monotonic() - before < 15


def test_a_child_that_dies_at_the_start_is_a_failure_that_shows_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    replace_serve(monkeypatch, "sh", "-c", "echo no such module: app; exit 3")
    assert run_local(config) == 1
    printed = capsys.readouterr().out
    assert "no such module: app" in printed
    assert "Serve ended by itself (exit code 3)" in printed


def test_a_child_that_is_killed_later_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, config: Path, port: int
) -> None:
    script = SERVER.replace("self.end_headers()", "self.end_headers(); self.wfile.flush(); os.kill(os.getpid(), 9)")
    replace_serve(monkeypatch, sys.executable, "-c", script, str(port), str(tmp_path / "note"))
    assert run_local(config) == 1
    printed = capsys.readouterr().out
    assert "Ready" in printed
    assert "killed by SIGKILL" in printed
    assert gone((tmp_path / "note").read_text().split()[2])


def test_a_taken_port_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, config: Path, port: int
) -> None:
    replace_serve(monkeypatch, "/nowhere")
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ConfigError, match=f"http_options.port {port}"):
        run_local(config)
