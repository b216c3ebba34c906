"""What Triton's statistics extension shows of each graph, added up at the same calls that feed the metrics.

Spec: "Statistics Extension" (Triton) and the messages `ModelStatistics` of its `grpc_service.proto`. The numbers are
those of one gateway replica since it started, as each server behind a balancer has its own.
"""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from graphs.run import NodeTiming

EXTENSION = "statistics"
"""Name of the extension in server metadata."""

_NS = 1e9


@dataclass(slots=True)
class _Duration:
    """Triton's StatisticDuration, in seconds."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.seconds * _NS)}


@dataclass(slots=True)
class GraphStatistics:
    """Sums of one graph."""

    success: _Duration = field(default_factory=_Duration)
    fail: _Duration = field(default_factory=_Duration)
    queue: _Duration = field(default_factory=_Duration)
    compute: _Duration = field(default_factory=_Duration)
    rows: int = 0
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Node → calls of it."""
    batches: dict[int, _Duration] = field(default_factory=lambda: defaultdict(_Duration))
    """Rows in a call → such calls, and the seconds they computed."""
    last: float = 0.0
    """When the last request was answered, in Unix seconds; 0: none was."""

    def answered(self, seconds: float, rows: int, nodes: Iterable[NodeTiming]) -> None:
        """Add a request that got its answer."""
        queue = compute = 0.0
        for timing in nodes:
            queue += timing.queue_s + timing.batch_s
            compute += timing.compute_s
            if timing.leads:
                self.calls[timing.node] += 1
                self.batches[timing.rows].add(timing.compute_s)
        self.success.add(seconds)
        self.queue.add(queue)
        self.compute.add(compute)
        self.rows += rows
        self.last = time.time()

    def document(self, name: str, version: str) -> dict[str, Any]:
        """The JSON form of one ModelStatistics."""
        none = _Duration().document()
        return {
            "name": name,
            "version": version,
            "last_inference": int(self.last * 1e3),
            "inference_count": self.rows,
            # A request calls each node at least once: the node called most often says how well calls were shared.
            "execution_count": max(self.calls.values(), default=self.success.count),
            "inference_stats": {
                "success": self.success.document(),
                "fail": self.fail.document(),
                "queue": self.queue.document(),
                "compute_input": none,
                "compute_infer": self.compute.document(),
                "compute_output": none,
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [
                {"batch_size": rows, "compute_input": none, "compute_infer": calls.document(), "compute_output": none}
                for rows, calls in sorted(self.batches.items())
            ],
        }


class Statistics:
    """Sums of every graph of a gateway. Used from its event loop only.

    Args:
        graphs: names of the graphs.
    """

    def __init__(self, graphs: Iterable[str]) -> None:
        self._graphs = {graph: GraphStatistics() for graph in graphs}

    def answered(self, graph: str, seconds: float, rows: int, nodes: Iterable[NodeTiming]) -> None:
        """Add a request that got its answer."""
        self._graphs[graph].answered(seconds, rows, nodes)

    def failed(self, graph: str, seconds: float) -> None:
        """Add a request that got an error; an unknown graph has no statistics."""
        if graph in self._graphs:
            self._graphs[graph].fail.add(seconds)

    def document(self, version: str, graph: str = "") -> dict[str, Any]:
        """Triton's document `{"model_stats": […]}` of one graph, or of all.

        Args:
            version: under which the graphs appear to clients.
            graph: a graph that this gateway has; empty: all.
        """
        names = [graph] if graph else sorted(self._graphs)
        return {"model_stats": [self._graphs[name].document(name, version) for name in names]}
