"""Starts one server on this machine, waits until every workload is answered rightly, and ends it again."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.online.ask import HOST, Ports, Unanswered, ask
from benchmarks.online.workloads import Protocol, Workload
from cluster.ports import free_ports, is_free
from cluster.processes import Family
from cluster.progress import deploying, tail
from cluster.settings import serve_environment

ROOT = Path(__file__).parents[2]
_START_S = 240
_STARTS = 3
"""Tries: on a busy machine one of Ray's own time limits for a start may pass."""
_GRAPHS = ("tiny", "batchable", "pipeline", "tensor")


class Kind(NamedTuple):
    """One of the servers that are compared."""

    title: str
    command: Callable[[Path, Ports], list[str]]
    """Folder and ports → command."""
    environment: Callable[[Path], dict[str, str]]
    """Folder → environment variables beside the usual."""
    speaks: frozenset[Protocol] = frozenset([Protocol.OWN])
    """It is measured with these."""
    millrace: bool = False


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    kind: Kind
    ports: Ports
    family: Family
    log: Path

    def wait_answer(self, workload: Workload, timeout_s: float) -> None:
        """Ask until the server answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; the message holds the end of its log.
            Failed: Serve has given up; the message holds the reason.
            ValueError: the answer is wrong.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return ask(workload, workload.post(self.kind.millrace), self.ports, timeout_s)
            except (OSError, Unanswered) as error:
                if self.family.child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.kind.title} does not answer ({error!r}):\n{tail(self.log)}") from error
            deploying(self.log)
            time.sleep(0.5)


@contextmanager
def running(kind: Kind, workloads: Sequence[Workload]) -> Iterator[Running]:
    """Run a server for the length of a `with` block; nothing of it is left afterwards.

    Raises:
        RuntimeError: it ended, or did not answer in time; the message holds the end of its log.
        ValueError: a wrong answer.
    """
    with ExitStack() as stack:
        for attempt in range(1, _STARTS + 1):
            try:
                server = stack.enter_context(_started(kind, workloads))
                break
            except RuntimeError:
                if attempt == _STARTS:
                    raise
        yield server


@contextmanager
def _started(kind: Kind, workloads: Sequence[Workload]) -> Iterator[Running]:
    # Not below TMPDIR: Ray puts Unix sockets deep below this folder, and their paths may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="mb-", dir="/tmp"))
    ports = Ports(*islice((port for port in range(8100, 8200) if is_free(HOST, port)), 2))
    log = folder / "log"
    with log.open("wb") as output:
        family = Family(kind.command(folder, ports), {**_inherited(), **kind.environment(folder)}, output)
    server = Running(kind, ports, family, log)
    try:
        for workload in workloads:
            server.wait_answer(workload, _START_S)
        yield server
    finally:
        family.end(grace_s=5)
        shutil.rmtree(folder, ignore_errors=True)


def _inherited() -> dict[str, str]:
    # RAY_ADDRESS and Serve's settings of whoever calls us must not reach the servers.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def _uvicorn(folder: Path, ports: Ports) -> list[str]:
    app = "benchmarks.online.servers.fastapi_app:app"
    return [sys.executable, "-m", "uvicorn", app, "--port", str(ports.http), "--no-access-log", "--app-dir", str(ROOT)]


def _grpc_aio(folder: Path, ports: Ports) -> list[str]:
    return [sys.executable, "-m", "benchmarks.online.servers.grpc_app", str(ports.grpc)]


def serve_run(applications: list[dict[str, Any]], servicer: str | None = None) -> Callable[[Path, Ports], list[str]]:
    """A `Kind`'s command. With a function that registers the gRPC service, Serve opens a port for it."""

    def command(folder: Path, ports: Ports) -> list[str]:
        config = folder / "serve.yaml"
        grpc_options = {"port": ports.grpc, "grpc_servicer_functions": [servicer], "enable_reflection": False}
        document = {
            "http_options": {"host": HOST, "port": ports.http},
            **({"grpc_options": grpc_options} if servicer else {}),
            "logging_config": {"enable_access_log": False},  # uvicorn's is off too
            "applications": applications,
        }
        config.write_text(yaml.safe_dump(document))
        serve = [sys.executable, "-m", "ray.serve.scripts", "run", "--address", "local", "--app-dir", str(ROOT)]
        return [*serve, str(config)]

    return command


def fast(folder: Path) -> dict[str, str]:
    """A `Kind`'s environment: Serve as Millrace sets it, behind HAProxy."""
    return serve_environment(haproxy=True, ports=free_ports(), folder=folder)


def _default(folder: Path) -> dict[str, str]:
    """Serve as it comes. What concerns Ray alone stays: the folder, and replicas that are not put behind wrk."""
    return {name: value for name, value in fast(folder).items() if not name.startswith("RAY_SERVE_")}


_RAY_APPLICATIONS = [
    {"name": name, "import_path": f"benchmarks.online.servers.ray_app:{name}", "route_prefix": f"/{route}"}
    for route in ("tiny", "batchable", "pipeline", "tensor-json", "tensor-binary")
    for name in [route.replace("-", "_")]
]
_RAY_GRPC = {"name": "grpc", "import_path": "benchmarks.online.servers.ray_grpc_app:app", "route_prefix": "/"}
_RAY_SERVICER = "tritonclient.grpc.service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server"
_MILLRACE = {
    "name": "millrace",
    "import_path": "deployments.app:build",
    "route_prefix": "/",
    "args": {"root": str(ROOT), "graphs": [f"benchmarks/online/graphs/{name}.yaml" for name in _GRAPHS]},
}

_MILLRACE_SERVICER = "deployments.protocols.v2_proto:add_servicer"
_OWN, _V2, _GRPC = Protocol.OWN, Protocol.V2, Protocol.GRPC

KINDS = {
    "fastapi": Kind("FastAPI + uvicorn", _uvicorn, lambda folder: {}, frozenset([_OWN, _V2])),
    "ray": Kind("Ray Serve, default", serve_run(_RAY_APPLICATIONS), _default),
    "ray-fast": Kind("Ray Serve, throughput + HAProxy", serve_run(_RAY_APPLICATIONS), fast),
    "grpc-aio": Kind("grpc.aio", _grpc_aio, lambda folder: {}, frozenset([_GRPC])),
    "ray-grpc": Kind(
        "Ray Serve gRPC, throughput + HAProxy", serve_run([_RAY_GRPC], _RAY_SERVICER), fast, frozenset([_GRPC])
    ),
    "millrace": Kind("Millrace", serve_run([_MILLRACE], _MILLRACE_SERVICER), fast, frozenset(Protocol), millrace=True),
}
"""The servers by name, in the order in which a round runs them."""
