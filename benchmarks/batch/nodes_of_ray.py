"""A Ray cluster of one or more nodes on this machine, each with processes that can be found and ended."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.batch.launch import environment, temporary
from cluster.ports import is_free
from cluster.processes import Family
from cluster.progress import tail

_START_S, _STOP_S = 90, 5
_TELL, _TELL_S = "RAY_debug_dump_period_milliseconds", 1
_HOST = "127.0.0.1"


class Cluster:
    """Ends with its context. Nodes are added to it; the first is the head.

    Args:
        folder: empty, with a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes: list[Family] = []
        self._folder = folder
        self._port, self._client_port = [port for port in range(33_000, 34_000) if is_free("", port)][:2]

    @property
    def address(self) -> str:
        """For `--address`."""
        return f"{_HOST}:{self._port}"

    def spills(self) -> int:
        """How often Ray moved objects from its store to the disk, as its nodes tell every second."""
        time.sleep(2 * _TELL_S)
        told = [file.read_text() for file in self._folder.glob("session_2*/logs/debug_state*.txt")]
        found = [int(count) for text in told for count in re.findall(r"cumulative spill requests: (\d+)", text)]
        if not found:
            raise RuntimeError(f"Ray does not tell in {self._folder}/…/debug_state.txt how often it spilled")
        return sum(found)

    def members(self) -> list[int]:
        """Processes of all nodes."""
        return [pid for node in self.nodes for pid in node.members()]

    def add(self, cpus: int, store_bytes: int) -> None:
        """Start a node, and wait until it is there. Raises RuntimeError if it does not come."""
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={cpus}"]
        command += [f"--object-store-memory={store_bytes}", "--disable-usage-stats", "--num-gpus=0"]
        if self.nodes:
            command += [f"--address={self.address}"]
        else:
            command += ["--head", f"--node-ip-address={_HOST}", f"--port={self._port}", f"--temp-dir={self._folder}"]
            command += [f"--ray-client-server-port={self._client_port}", "--include-dashboard=false"]
        log = self._folder / f"node{len(self.nodes)}.log"
        with log.open("wb") as output:
            node = Family(command, environment(self._folder, {_TELL: str(1000 * _TELL_S)}), output)
        self.nodes.append(node)
        deadline = time.monotonic() + _START_S
        while "Ray runtime started" not in log.read_text(errors="replace"):
            if node.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a node of Ray did not start:\n{tail(log)}")
            time.sleep(0.1)

    def end(self) -> None:
        """End all nodes, the head last."""
        for node in reversed(self.nodes):
            node.end(_STOP_S)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster without nodes; whatever it has is ended with the context."""
    with temporary() as folder:
        made = Cluster(folder)
        try:
            yield made
        finally:
            made.end()
