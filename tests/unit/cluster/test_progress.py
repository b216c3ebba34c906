"""What Serve's REST API says becomes a line, or the reason of a failure."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster.progress import Failed, all_run, deploying, is_ready, tail

STARTS = {"name": "gateway", "status": "UPDATING", "message": ""}
WAITS = {"name": "cnn", "status": "UPDATING", "message": "needs 1 GPU\nmore"}
TRACE = "failed 3 times\nTraceback:\n  File app.py, line 4\n    ^^^^\nConfigError: a:1: a cycle\na:2: no such node\n"
BROKEN = {"name": "gateway", "status": "DEPLOY_FAILED", "message": TRACE}


class Dashboard(BaseHTTPRequestHandler):
    """Answers as Serve's REST API with the server's `applications`."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/serve/applications/" else 503)
        self.end_headers()
        self.wfile.write(json.dumps({"applications": self.server.applications}).encode())  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def dashboard() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.fixture
def log(dashboard: ThreadingHTTPServer, tmp_path: Path) -> Path:
    path = tmp_path / "log"
    url = f"http://127.0.0.1:{dashboard.server_port}"
    path.write_text(f"Started a local Ray instance. View the dashboard at \x1b[1m\x1b[32m{url} \x1b[39m\x1b[22m\n")
    return path


def application(status: str, *deployments: dict[str, str]) -> dict[str, Any]:
    items = {item["name"]: item for item in deployments}
    return {"millrace": {"name": "millrace", "status": status, "message": "", "deployments": items}}


def test_deployments_that_are_not_healthy_yet_are_named(dashboard: ThreadingHTTPServer, log: Path) -> None:
    done = {"name": "control", "status": "HEALTHY", "message": ""}
    dashboard.applications = application("DEPLOYING", STARTS, WAITS, done)  # type: ignore[attr-defined]
    assert deploying(log) == "gateway starts; cnn: needs 1 GPU"


def test_a_failed_deployment_raises_with_its_reason(dashboard: ThreadingHTTPServer, log: Path) -> None:
    dashboard.applications = application("DEPLOY_FAILED", BROKEN)  # type: ignore[attr-defined]
    with pytest.raises(Failed) as raised:
        deploying(log)
    assert str(raised.value) == "application millrace: ConfigError: a:1: a cycle\na:2: no such node"


@pytest.mark.parametrize(("statuses", "run"), [([], False), (["RUNNING"] * 2, True), (["RUNNING", "DEPLOYING"], False)])
def test_all_run_when_serve_says_so(dashboard: ThreadingHTTPServer, log: Path, statuses: list[str], run: bool) -> None:
    dashboard.applications = {str(index): {"status": status} for index, status in enumerate(statuses)}  # type: ignore[attr-defined]
    assert all_run(log) is run


def test_nothing_is_said_before_ray_has_started(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("Running config file\n")
    assert deploying(tmp_path / "log") == ""
    assert not all_run(tmp_path / "log")


def test_only_an_answer_of_200_is_ready(dashboard: ThreadingHTTPServer) -> None:
    dashboard.applications = {}  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{dashboard.server_port}"
    assert is_ready(f"{url}/api/serve/applications/")
    assert not is_ready(f"{url}/v2/health/ready")
    assert not is_ready("http://127.0.0.1:1/")


def test_the_tail_has_no_colours(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\ntwo\n\x1b[31mthree\x1b[0m\n")
    assert tail(tmp_path / "log", 2) == "two\nthree"
