"""A server of this checkout with given graphs, as `millrace run` starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from cluster.ports import is_free

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[3]
_START_S, _STOP_S = 240, 90
_COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "run"]
_LOGICAL_CPUS = 16
"""What Ray books, whatever the machine has: nodes that sleep need none."""


@dataclass(frozen=True)
class Serving:
    """A server that answers."""

    http_port: int
    grpc_port: int
    pid: int
    """Of `millrace run`; its only child leads the session of all that it started."""
    state_url: str
    log: Path


@contextmanager
def serving(graphs: Sequence[Mapping[str, Any]], proxy: str = "haproxy", **args: Any) -> Iterator[Serving]:
    """A server of these graphs, with a state of its own.

    Args:
        proxy: `haproxy` or `python`.
        args: of the application, in place of the usual.

    Raises:
        RuntimeError: it ended, or was not ready in time; the message holds its log.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        port, grpc_port = [port for port in range(8100, 8200) if is_free(HOST, port)][:2]
        state_url, log = f"sqlite:///{folder}/state.sqlite", folder / "log"
        config = _config(folder, graphs, (port, grpc_port), {**args, "state_url": state_url})
        env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        env |= {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": _LOGICAL_CPUS}), "PYTHONPATH": str(ROOT)}
        with log.open("wb") as output:
            command = [*_COMMAND, str(config), "--proxy", proxy]
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
        try:
            _wait(process, log)
            yield Serving(port, grpc_port, process.pid, state_url, log)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _config(folder: Path, graphs: Sequence[Mapping[str, Any]], ports: tuple[int, int], args: Mapping[str, Any]) -> Path:
    paths = [folder / f"{graph['name']}.yaml" for graph in graphs]
    for path, graph in zip(paths, graphs, strict=True):
        path.write_text(yaml.safe_dump(dict(graph)))
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    document["http_options"]["port"], document["grpc_options"]["port"] = ports
    own = {"graphs": [str(path) for path in paths], "root": str(ROOT)}
    document["applications"][0]["args"] |= {**own, **args}
    config = folder / "serve_config.yaml"
    config.write_text(yaml.safe_dump(document))
    return config


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while "Ready" not in (text := log.read_text(errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server ended, or was not ready after {_START_S} s:\n{text[-5000:]}")
        time.sleep(0.2)
