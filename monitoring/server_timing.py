"""The `Server-Timing` header: where a request's time went, node by node (W3C Server Timing)."""

from collections.abc import Iterable
from typing import Protocol


class Timed(Protocol):
    """What is known of one node's call, in seconds."""

    node: str
    queue_s: float
    batch_s: float
    compute_s: float


def server_timing(nodes: Iterable[Timed], total_s: float) -> str:
    """The header's value, in milliseconds: `total`, then `<node>.queue|batch|compute` for each node.

    `queue` is the wait for a busy node, `batch` the putting together of rows, `compute` the call itself.
    Nodes that run fused share one queue and one batch: they are counted at the first of them.
    """
    parts = [f"total;dur={total_s * 1e3:.3f}"]
    for timed in nodes:
        name = timed.node.replace("/", "-")
        if timed.queue_s or timed.batch_s:
            parts.append(f"{name}.queue;dur={timed.queue_s * 1e3:.3f}, {name}.batch;dur={timed.batch_s * 1e3:.3f}")
        parts.append(f"{name}.compute;dur={timed.compute_s * 1e3:.3f}")
    return ", ".join(parts)
