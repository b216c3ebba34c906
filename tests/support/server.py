"""A real server for tests: `millrace run` in a process of its own, on free ports, with test graphs beside the demo."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

from tests.support.collector import Collector
from tests.support.http import Answer, request
from tests.support.ports import free_ports
from tests.support.processes import alive, children, environment, session

ROOT = Path(__file__).parents[2]
GRAPHS = Path("tests/support/graphs_yaml")
ROUTERS = ["examples.digits.routes:router", "tests.support.routes:router"]
MAX_REQUEST_BYTES = 1 << 20
IN_FLIGHT = 80
"""Requests that one address may have in flight: more than any test has, but that of this limit."""
START_S = 300
"""Longest start: two dozen processes on two busy cores."""
_RUN = "from cli.main import main; main()"
_LOGICAL = {"CPU": 8, "GPU": 2}
"""What Ray books, whatever the machine has: tests must not wait for CPUs, and GPU fractions need no GPU."""
_SETTINGS = {
    "RAY_OVERRIDE_RESOURCES": json.dumps(_LOGICAL),
    # The test nodes are not installed, and `serve deploy` does not put the working directory on the path.
    "PYTHONPATH": str(ROOT),
    # Whoever followed this address would fail: nobody listens there.
    "RAY_ADDRESS": "127.0.0.1:1",
    # A replica that cannot start is tried once instead of three times: a test waits for the end of it.
    "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "1",
    # What is only shown after a while is shown at once: metrics each 10 s, records of the log by the thousand.
    "RAY_metrics_report_interval_ms": "1000",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
}


def millrace(*arguments: str) -> list[str]:
    """The command line of the `millrace` command in this environment."""
    return [sys.executable, "-c", _RUN, *arguments]


def train_demo() -> None:
    """Train the demo's models where there are none."""
    subprocess.run([sys.executable, "-m", "examples.digits.train"], cwd=ROOT, check=True, timeout=300)


class Server:
    """A running server. `start` it, and `stop` it in the end.

    Args:
        proxy: `haproxy` or `python`.
        folder: an empty folder for its config and log.
    """

    def __init__(self, proxy: str, folder: Path) -> None:
        self.proxy, self.folder = proxy, folder
        http_port, grpc_port = free_ports(2)
        self.http, self.grpc = f"http://127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}"
        self.collector = Collector()
        """Gets the spans of requests whose callers trace."""
        self.config = _config(http_port, grpc_port, folder, self.collector.url)
        self.log = folder / "log"
        self._stopped = False

    def start(self) -> None:
        """Start and wait until it answers. Raises AssertionError with its log if it ends instead, or takes too long."""
        path = self._write(self.config)
        env = {**os.environ, **_SETTINGS}
        with self.log.open("wb") as output:
            command = millrace("run", str(path), "--proxy", self.proxy)
            self.process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
        try:
            self.wait(lambda: "Ready" in self.log.read_text(), START_S, "the server answers")
        except BaseException:
            self._interrupt()
            raise
        [self._leader] = children(self.process.pid)
        self._ray_folder = Path(environment(self._leader)["RAY_TMPDIR"])

    def stop(self) -> None:
        """Stop as Ctrl-C does, unless it is stopped. Raises AssertionError if anything that it started is left."""
        if self._stopped:
            return
        self._stopped = True
        started = session(self._leader)
        self.collector.close()
        assert self._interrupt() == 0, self.tail()
        assert not [command for pid, command in started.items() if alive(pid)]
        assert not session(self._leader)
        assert not self._ray_folder.exists()

    def wait(self, condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
        """The first true value of `condition`; AssertionError with the log when the server ends or time is up."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert self.process.poll() is None, f"the server ended before {what}:\n{self.tail()}"
            assert time.monotonic() < deadline, f"after {timeout_s} s not true that {what}:\n{self.tail()}"
            time.sleep(0.2)
        return value

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-60:])

    def request(self, path: str, *arguments: Any, **options: Any) -> Answer:
        """One HTTP request, as `tests.support.http.request`."""
        return request(f"{self.http}{path}", *arguments, **options)

    @property
    def args(self) -> dict[str, Any]:
        """Of our application, to be changed before the start."""
        args: dict[str, Any] = self.config["applications"][0]["args"]
        return args

    @property
    def ray_address(self) -> str:
        """Where a driver joins the cluster."""
        words = (word for command in session(self._leader).values() for word in command)
        return next(word for word in words if word.startswith("--gcs-address=")).partition("=")[2]

    @property
    def dashboard(self) -> str:
        """Base URL of Ray's dashboard."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", (self._ray_folder / "serve.log").read_text(errors="replace"))
        found = re.search(r"View the dashboard at\D*(http://[\w.:]+|[\d.]+:\d+)", text)
        assert found, text
        return found[1] if found[1].startswith("http") else f"http://{found[1]}"

    def metrics(self) -> str:
        """What Prometheus would scrape from Ray's agents now; they start after the server answers."""
        [targets] = json.loads((self._ray_folder / "ray/prom_metrics_service_discovery.json").read_text())
        return "".join(map(_scrape, targets["targets"]))

    def applications(self) -> dict[str, Any]:
        """Serve's applications, as its REST API tells."""
        answer: dict[str, Any] = json.load(urlopen(f"{self.dashboard}/api/serve/applications/", timeout=20))
        return answer["applications"]

    def replicas(self, application: str, deployment: str) -> dict[str, int]:
        """Running replicas of a deployment: id → pid."""
        return _replicas(self.applications()[application], deployment)

    def stages(self, graph: str = "") -> dict[str, tuple[str, int]]:
        """Stage applications, of one graph or all: name → (id, pid) of the first replica; ("", 0) while none runs."""
        prefix = f"millrace.{graph}." if graph else "millrace."
        applications = {name: state for name, state in self.applications().items() if name.startswith(prefix)}
        return {name: next(iter(_replicas(state, "stage").items()), ("", 0)) for name, state in applications.items()}

    def changed(self, **args: Any) -> dict[str, Any]:
        """The config with other `args` of the application."""
        config = copy.deepcopy(self.config)
        config["applications"][0]["args"].update(args)
        return config

    def deploy(self, config: dict[str, Any], timeout_s: float = 120) -> str:
        """What `serve deploy` asks of the running cluster; wait for the end: RUNNING or DEPLOY_FAILED."""
        body = json.dumps(config).encode()
        url, headers = f"{self.dashboard}/api/serve/applications/", {"content-type": "application/json"}
        return self._deployed(lambda: urlopen(Request(url, body, headers, method="PUT"), timeout=60), config, timeout_s)

    def deploy_by_command(self, config: dict[str, Any], timeout_s: float = 120) -> str:
        """As `deploy`, by `serve deploy` itself, which takes seconds to start."""
        command = [sys.executable, "-m", "ray.serve.scripts", "deploy", str(self._write(config)), "-a", self.dashboard]
        env = {**os.environ, "RAY_AUTH_MODE": "disabled"}

        def run() -> None:
            done = subprocess.run(command, cwd=ROOT, env=env, timeout=100, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr

        return self._deployed(run, config, timeout_s)

    def _deployed(self, deploy: Callable[[], object], config: dict[str, Any], timeout_s: float) -> str:
        before = self.applications()["millrace"]["last_deployed_time_s"]
        deploy()

        def ended() -> str | None:
            state = self.applications()["millrace"]
            status: str = state["status"]
            return status if status != "DEPLOYING" and state["last_deployed_time_s"] > before else None

        status: str = self.wait(ended, timeout_s, "the deployment has ended")
        if status == "RUNNING":
            self.config = config
        return status

    def failure(self) -> str:
        """Why the application's deployment failed: its own message and its deployments'."""
        state = self.applications()["millrace"]
        return "\n".join([state["message"], *(item["message"] for item in state["deployments"].values())])

    def _interrupt(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(90)

    def _write(self, config: dict[str, Any]) -> Path:
        path = self.folder / "serve_config.yaml"
        path.write_text(yaml.safe_dump(config))
        return path


def _scrape(target: str) -> str:
    try:
        return str(urlopen(f"http://{target}/metrics", timeout=20).read().decode())
    except OSError:  # nobody listens yet: whoever waits for a metric asks again
        return ""


def _replicas(application: dict[str, Any], deployment: str) -> dict[str, int]:
    # An application that has just been added, or is about to go, has no deployments.
    replicas = application["deployments"].get(deployment, {"replicas": []})["replicas"]
    return {replica["replica_id"]: replica["pid"] for replica in replicas if replica["state"] == "RUNNING"}


def _config(http_port: int, grpc_port: int, folder: Path, collector: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["http_options"]["port"], config["grpc_options"]["port"] = http_port, grpc_port
    [application] = config["applications"]
    application["args"] |= {
        "graphs": ["configs/digits.yaml", *sorted(str(GRAPHS / path.name) for path in (ROOT / GRAPHS).glob("*.yaml"))],
        "root": str(ROOT),
        "routers": ROUTERS,
        "profile": "cpu",
        "max_request_bytes": MAX_REQUEST_BYTES,
        "client_limit": {"in_flight": IN_FLIGHT},
        "state_url": f"sqlite:///{folder}/state.sqlite",
        "tracing": {"exporter": "otlp", "endpoint": collector, "sample": 0},
    }
    return config
