"""Counts what the gateway answers: kept in plain lists on the hot path, handed to Ray's metrics each second."""

import asyncio
import contextlib
from collections import Counter as Counts
from collections.abc import Iterable, Mapping

from ray.serve import metrics

from graphs.executor import Executor, NodeTiming
from monitoring import names
from monitoring.names import Metric

FLUSH_PERIOD_S = 1.0


class Recorder:
    """Metrics of one gateway replica. Used from its event loop only.

    Args:
        versions: (graph, node) → version, for the labels of node metrics.
        executors: graph → its executor, whose waiting requests are read at each flush.
    """

    def __init__(self, versions: dict[tuple[str, str], str], executors: Mapping[str, Executor]) -> None:
        self._versions = versions
        self._executors = executors
        self._requests: Counts[tuple[str, str, str]] = Counts()
        self._errors: Counts[tuple[str, str, str]] = Counts()
        self._latencies: list[tuple[str, str, float]] = []
        self._nodes: list[tuple[str, NodeTiming]] = []
        self._ray = {metric.name: _ray_metric(metric) for metric in names.ALL}
        self._task: asyncio.Task[None] | None = None

    def answered(self, graph: str, protocol: str, seconds: float, nodes: Iterable[NodeTiming]) -> None:
        """Note a request that got its answer. Calls of nodes are counted once, at the oldest request in them."""
        self._requests[graph, protocol, "OK"] += 1
        self._latencies.append((graph, protocol, seconds))
        self._nodes.extend((graph, timing) for timing in nodes if timing.leads)
        self._start()

    def failed(self, graph: str, protocol: str, error: Exception, code: str) -> None:
        """Note a request that got an error."""
        self._requests[graph, protocol, code] += 1
        self._errors[graph, protocol, type(error).__name__] += 1
        self._start()

    async def close(self) -> None:
        """Hand over what is left and stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self.flush()

    def flush(self) -> None:
        """Hand everything noted so far to Ray."""
        self._flush_counts(names.REQUESTS, "code", self._requests)
        self._flush_counts(names.ERRORS, "error", self._errors)
        latencies, self._latencies = self._latencies, []
        for graph, protocol, seconds in latencies:
            self._ray[names.LATENCY.name].observe(seconds * 1e3, {"graph": graph, "protocol": protocol})
        nodes, self._nodes = self._nodes, []
        for graph, timing in nodes:
            self._flush_node(graph, timing)
        for graph, executor in self._executors.items():
            self._ray[names.WAITING.name].set(executor.waiting, {"graph": graph})

    def _flush_counts(self, metric: Metric, label: str, counts: Counts[tuple[str, str, str]]) -> None:
        for (graph, protocol, value), count in counts.items():
            self._ray[metric.name].inc(count, {"graph": graph, "protocol": protocol, label: value})
        counts.clear()

    def _flush_node(self, graph: str, timing: NodeTiming) -> None:
        labels = {"graph": graph, "node": timing.node, "version": self._versions.get((graph, timing.node), "")}
        self._ray[names.NODE_QUEUE.name].observe(timing.queue_s * 1e3, labels)
        self._ray[names.NODE_COMPUTE.name].observe(timing.compute_s * 1e3, labels)
        self._ray[names.BATCH_ROWS.name].observe(timing.rows, labels)

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush_forever())

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            self.flush()


def _ray_metric(metric: Metric) -> "metrics.Counter | metrics.Gauge | metrics.Histogram":
    match metric.kind:
        case "counter":
            return metrics.Counter(metric.name, metric.description, tag_keys=metric.labels)
        case "gauge":
            return metrics.Gauge(metric.name, metric.description, tag_keys=metric.labels)
        case "histogram":
            return metrics.Histogram(
                metric.name, metric.description, boundaries=list(metric.bounds), tag_keys=metric.labels
            )
