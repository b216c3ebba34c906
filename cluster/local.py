"""Runs a serve config on a new Ray cluster on this machine until it is told to stop, and leaves nothing behind."""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape

from cluster.ports import check_free, free_ports
from cluster.processes import Family
from cluster.progress import Failed, all_run, deploying, is_ready, tail
from cluster.settings import serve_environment
from cluster.target import Target, curl, read_target

_POLL_S = 0.2
_STATUS_EVERY_S = 2.0
_SERVE_STOPS_S = 40
"""How long Serve may take to finish requests and shut down: its own limit is 30 s."""
_GRACE_S = 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop:
    """Counts the signals that ask to stop: the first means in order, the second at once."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1

    def at_once(self) -> bool:
        return self.asked > 1


def run_local(config: Path, *, haproxy: bool = True) -> int:
    """Start a new Ray cluster with this serve config, say where to send requests, and wait until told to stop.

    A running cluster is never joined. Blocks; must be called in the main thread. SIGINT (Ctrl-C), SIGTERM or SIGHUP
    stops in order, a second one at once.

    Args:
        config: path of a serve config.
        haproxy: HAProxy in front of the replicas; else Ray's Python proxy.

    Returns:
        Exit code: 0 if it was told to stop, 1 if it failed to start or ended by itself (the reason is printed).

    Raises:
        ConfigError: the serve config has problems, or a port that it names is in use.
    """
    target = read_target(config)
    check_free(target.host, target.http_port, "http_options.port")
    if target.grpc_port is not None:
        check_free(target.host, target.grpc_port, "grpc_options.port")
    console = Console(highlight=False, soft_wrap=True)
    with _stop_signals() as stop, _short_folder() as folder:
        log = folder / "serve.log"
        with log.open("wb") as output:
            family = Family(_command(config), _environment(haproxy, folder), output)
        try:
            return _serve(family, target, log, console, stop)
        finally:
            _end(family, console, stop)


def _command(config: Path) -> list[str]:
    return [sys.executable, "-m", "ray.serve.scripts", "run", "--address", "local", str(config)]


def _environment(haproxy: bool, folder: Path) -> dict[str, str]:
    settings = serve_environment(haproxy=haproxy, ports=free_ports(), folder=folder)
    # RAY_ADDRESS would win over `local` in whatever else Ray starts.
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**inherited, **settings}


def _serve(family: Family, target: Target, log: Path, console: Console, stop: _Stop) -> int:
    """Wait until requests are answered, then until the end. Returns the exit code."""
    started = time.monotonic()
    try:
        ready = _wait_ready(family, target, log, console, stop)
    except Failed as failure:
        console.print(f"[red]Serve could not start:[/red] {escape(str(failure))}")
        return 1
    if ready:
        console.print(_welcome(target, family.option("--gcs-address"), log.parent / "ray", time.monotonic() - started))
        _follow(family, log, stop)
    if stop.asked:
        return 0
    console.print(escape(tail(log)))
    console.print(f"[red]Serve ended by itself[/red] ({_how(family.child.returncode)}); the end of its log is above.")
    return 1


def _wait_ready(family: Family, target: Target, log: Path, console: Console, stop: _Stop) -> bool:
    """True when all applications answer; False if the child ended or we are told to stop. Raises Failed."""
    urls = [f"{target.http}{prefix}/v2/health/ready" for prefix in target.prefixes]
    told = -_STATUS_EVERY_S
    with _Progress(console) as progress:
        while family.child.poll() is None and not stop.asked:
            if all(map(is_ready, urls)) and (all_run(log) or not target.others):
                return True
            if time.monotonic() - told >= _STATUS_EVERY_S:
                progress.say(deploying(log) or "starting Ray and Serve")
                told = time.monotonic()
            time.sleep(_POLL_S)
    return False


def _follow(family: Family, log: Path, stop: _Stop) -> None:
    """Copy what Serve prints to our output until it ends or we are told to stop."""
    with log.open(errors="replace") as lines:
        lines.seek(0, os.SEEK_END)
        while family.child.poll() is None and not stop.asked:
            sys.stdout.write(lines.read())
            sys.stdout.flush()
            time.sleep(_POLL_S)


def _welcome(target: Target, ray_address: str | None, ray_folder: Path, seconds: float) -> str:
    lines = [f"[green]Ready[/green] after {seconds:.0f} s. Ctrl-C stops.", f"  HTTP  {target.http}"]
    lines += [f"  gRPC  {target.grpc}"] if target.grpc else []
    lines += [f"  docs  {target.http}{prefix}/docs" for prefix in target.prefixes]
    lines += [f'  Ray   ray.init("{ray_address}"), with RAY_AUTH_MODE=disabled'] if ray_address else []
    lines += [f"  metrics  http://{agent}/metrics" for agent in _metrics_agents(ray_folder)]
    lines.append(f"  logs  {ray_folder}/session_latest/logs/serve, until the end")
    if target.without_example:
        lines.append(f"No curl line for {', '.join(target.without_example)}: give each input an `example:`")
    return "\n".join([*lines, *(f"\n{escape(curl(target, path))}" for path in target.examples)])


def _metrics_agents(ray_folder: Path) -> list[str]:
    """Host and port of each node's agent, from the file that Ray keeps for Prometheus."""
    try:
        targets = json.loads((ray_folder / "prom_metrics_service_discovery.json").read_text())
    except (OSError, ValueError):  # Ray writes it anew each few seconds
        return []
    return [str(agent) for group in targets for agent in group["targets"]]


def _end(family: Family, console: Console, stop: _Stop) -> None:
    """Let Serve shut down in order, then end whatever is left of what it started."""
    if family.child.poll() is None and not stop.at_once():
        console.print("Stopping; Ctrl-C again stops at once.")
        family.child.send_signal(signal.SIGINT)
        deadline = time.monotonic() + _SERVE_STOPS_S
        while family.child.poll() is None and time.monotonic() < deadline and not stop.at_once():
            time.sleep(_POLL_S)
    if left := family.end(0 if stop.at_once() else _GRACE_S, stop.at_once):
        console.print(f"[red]Processes that could not be ended:[/red] {', '.join(map(str, left))}")


def _how(code: int | None) -> str:
    return f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


class _Progress:
    """What is being waited for: a spinner on a terminal, else a line whenever it changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("starting Ray and Serve") if console.is_terminal else None
        self._said = ""

    def __enter__(self) -> "_Progress":
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, text: str) -> None:
        if self._status:
            self._status.update(escape(text))
        elif text != self._said:
            self._console.print(f"{escape(text)} …")
            self._said = text


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    stop = _Stop()
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _short_folder() -> Iterator[Path]:
    """A folder for the sockets, logs and sessions of this run. Not below TMPDIR, which may be too long a path."""
    folder = Path(tempfile.mkdtemp(prefix="mr-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
