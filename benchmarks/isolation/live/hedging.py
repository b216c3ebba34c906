"""Hedged calls of a real server's replicas, some of which stall, and the same calls without hedging."""

from pathlib import Path
from typing import Any

from benchmarks.isolation.hedging import SLOWER, STALLED, Tail
from benchmarks.isolation.live.clients import Clients

CALL_S = 0.01
CLIENTS = 1
_REPLICAS = 8
"""A replica that stalls stalls all calls that it has, and nobody can end it. One client leaves a third of a replica
stalled on average, so that a second call finds another one."""


def graphs(folder: Path) -> list[dict[str, Any]]:
    """The same placed node in two graphs, `plain` and `hedged`; each counts its rows in a file of the folder."""
    return [_graph(name, folder) for name in ("plain", "hedged")]


def _graph(name: str, folder: Path) -> dict[str, Any]:
    node = {
        "call": "benchmarks.isolation.live.nodes:Stalling",
        "with": {"call_s": CALL_S, "stalled": STALLED, "slower": SLOWER, "tally": str(folder / name)},
        "inputs": {"x": "x"},
        "replicas": _REPLICAS,
        "cpus": 0.5,
        "hedge": name == "hedged",
    }
    return {"name": name, "inputs": {"x": "FP32[-1]"}, "nodes": {"work": node}, "outputs": {"y": "work.y"}}


async def tail(port: int, name: str, folder: Path, seconds: float) -> Tail:
    """Calls of one of the graphs by clients that each ask again when they are answered.

    Raises:
        RuntimeError: a request was not answered with 200.
    """
    clients = Clients(port, name)
    await clients.closed_loop(CLIENTS, seconds / 5)  # until it has seen how long calls take, none is hedged
    before = (folder / name).stat().st_size
    requests = await clients.closed_loop(CLIENTS, seconds)
    await clients.close()
    if wrong := [request.status for request in requests if request.status != 200]:
        raise RuntimeError(f"{name}: {len(wrong)} of {len(requests)} requests were answered with {set(wrong)}")
    made = (folder / name).stat().st_size - before
    return Tail(name == "hedged", len(requests), made / len(requests) - 1, tuple(sorted(r.seconds for r in requests)))
