"""The command `python -m benchmarks.lookups.live`: versions of a large table take over while a server answers."""

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

from benchmarks.isolation.live.server import HOST, serving
from benchmarks.lookups.rows import key
from benchmarks.online.machine import describe_machine
from servables.lookup_file import write_lookup
from servables.push import push_model

PAGE = Path(__file__).parent / "LIVE.md"
CLIENTS, PAUSE_S, CALM_S = 4, 0.02, 30.0
KNOWN = 0.9
"""Share of the keys that the table has."""
_LONGEST_S = 120.0
_SHOWN = ("date", "commit", "CPU", "load average before", "Python", "ray")


class Asked(NamedTuple):
    """A request that ended."""

    began: float
    seconds: float
    version: int
    """That answered; 0: the table does not have the key."""
    wrong: str
    """What is wrong with the answer, or nothing."""


class Clients:
    """Each asks for one row, and again a moment after its answer. The lists grow while they run."""

    def __init__(self, port: int, keys: int) -> None:
        self.asked: list[Asked] = []
        self._port, self._keys = port, keys
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(CLIENTS)]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in self._threads:
                thread.join()

    def wait_for(self, version: int) -> float:
        """Until this version has answered: when that was."""
        until = time.monotonic() + _LONGEST_S
        while time.monotonic() < until:
            if first := next((each for each in self.asked if each.version == version), None):
                return first.began + first.seconds
            time.sleep(0.05)
        raise RuntimeError(f"version {version} did not answer within {_LONGEST_S:g} s")

    def _run(self, seed: int) -> None:
        random, connection = np.random.default_rng(seed), http.client.HTTPConnection(HOST, self._port, timeout=60)
        while not self._end.is_set():
            number, began = int(random.integers(0, int(self._keys / KNOWN))), time.time()
            try:
                connection.request("POST", "/shop", json.dumps({"user": [key(number).decode()]}))
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                status, content = 0, repr(error).encode()
            seconds = time.time() - began
            found = json.loads(content) if status == 200 else {}
            wrong = _wrong(found, number, self._keys) if found else f"{status} {content[:200]!r}"
            self.asked.append(Asked(began, seconds, found["version"][0] if found else 0, wrong))
            time.sleep(PAUSE_S)


def _wrong(answer: dict[str, Any], number: int, keys: int) -> str:
    version = answer["version"][0]
    right = {"row": [number, version], "found": True} if number < keys else {"row": [0, 0], "found": False}
    return "" if {name: answer[name][0] for name in right} == right else f"row {number}: {answer}"


def write_table(folder: Path, version: int, keys: int) -> None:
    """A table whose rows say which they are, and of which version."""
    rows = np.full((keys, 2), version)
    rows[:, 0] = np.arange(keys)
    row = pa.FixedSizeListArray.from_arrays(rows.reshape(-1), 2)
    filler = pa.FixedSizeListArray.from_arrays(np.zeros(keys * 12), 12)
    columns = {"version": np.full(keys, version), "row": row, "filler": filler}
    folder.mkdir()
    write_lookup(folder, pa.table({"user": [key(number) for number in range(keys)], **columns}), "user")


def main(
    keys: Annotated[int, typer.Option(help="Rows of the table.")] = 1_000_000,
    swaps: Annotated[int, typer.Option(help="Versions that take over, one after the other.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="A small table, twice; prints only.")] = False,
) -> None:
    """Swap versions under load; replaces LIVE.md. Ends with 1 if a lookup failed or an answer was wrong."""
    keys, swaps = (20_000, 2) if quick else (keys, swaps)
    machine = describe_machine()
    with TemporaryDirectory() as name:
        root = Path(name)
        for version in range(1, swaps + 2):
            write_table(root / f"made-{version}", version, keys)
        push_model(root / "made-1", "table", root, options=None)
        node = {"lookup": str(root / "table"), "inputs": {"key": "user"}}
        outputs = {name: f"best.{name}" for name in ("version", "row", "found")}
        graph = {"name": "shop", "inputs": {"user": "BYTES[-1]"}, "nodes": {"best": node}, "outputs": outputs}
        size = sum(path.stat().st_size for path in (root / "table" / "1").iterdir())
        with serving([graph]) as server:
            clients = Clients(server.http_port, keys)
            with clients.running():
                time.sleep(CALM_S)
                began, took = time.time(), [_swap(root, clients, version) for version in range(2, swaps + 2)]
    page = _page(machine, keys, size, clients.asked, began, took)
    print(page)
    if not quick:
        PAGE.write_text(page)
    sys.exit(any(each.wrong for each in clients.asked))


def _swap(root: Path, clients: Clients, version: int) -> float:
    """Seconds from when a version is there until it answers."""
    pushed = push_model(root / f"made-{version}", "table", root, version, options=None).version
    return clients.wait_for(version) - pushed.path.stat().st_ctime


def _page(machine: dict[str, str], keys: int, size: int, asked: list[Asked], began: float, took: list[float]) -> str:
    parts = {"calm": [each for each in asked if each.began < began], "swaps": [e for e in asked if e.began >= began]}
    failed = [each.wrong for each in asked if each.wrong]
    lines = ["# Versions of a table under load", ""]
    lines += ["How it is measured: [benchmarks/README.md](../README.md#lookups-a-row-by-its-key).", ""]
    lines += [f"- {name}: {machine[name]}" for name in _SHOWN]
    lines += [f"- {keys:,} keys, a file of {size / 1e6:.0f} MB; {CLIENTS} clients over HTTP, one row a request", ""]
    lines += ["| part | lookups | failed or wrong | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    for name, each in parts.items():
        p50, p99 = np.quantile([one.seconds for one in each], [0.5, 0.99]) * 1e3
        lines.append(f"| {name} | {len(each):,} | {sum(bool(one.wrong) for one in each)} | {p50:.1f} | {p99:.1f} |")
    said = f"{np.median(took):.1f} s (longest {max(took):.1f} s)"
    lines += ["", f"{len(took)} swaps; from when a version is there until it answers: {said}.", *failed[:3]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
