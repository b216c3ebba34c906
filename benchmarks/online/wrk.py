"""Runs the load generator wrk, and reads what it counted."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from benchmarks.online.workloads import Post
from configs.errors import ConfigError

_SCRIPT = Path(__file__).with_name("load.lua")
_PATIENCE_S = 600
"""wrk counts an answer as late after this long: never, since slow is measured and not an error."""


class Load(NamedTuple):
    """What one run of wrk counted."""

    requests: int
    """Answers that arrived, of any status."""
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: dict[str, int]
    """Kind → count; only kinds that occurred."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def require_wrk() -> None:
    """Raises ConfigError if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise ConfigError("the load generator `wrk` is not installed; on Debian or Ubuntu: apt-get install wrk")


def run_wrk(url: str, post: Post, body: Path, connections: int, seconds: int) -> Load:
    """Keep `connections` requests in flight for some seconds, each sent when the one before it is answered.

    Args:
        url: address of the server, without the path.
        post: the request; its body must lie in the file `body`.

    Raises:
        RuntimeError: wrk failed; the message holds what it printed.
    """
    headers = [text for header in post.headers.items() for text in header]
    # One thread is enough for any of these servers, and leaves the other core to them.
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={_PATIENCE_S}s", "-s", str(_SCRIPT)]
    command = ["wrk", *options, url + post.path, "--", str(body), *headers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}: {done.stdout}{done.stderr}")
    return parse(done.stdout)


def parse(output: str) -> Load:
    """What the last line of wrk's output says, which load.lua prints."""
    counted = json.loads(output.strip().rpartition("\n")[2])
    errors = {kind: count for kind, count in counted.pop("errors").items() if count}
    return Load(**counted, errors=errors)
