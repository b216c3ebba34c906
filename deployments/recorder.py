"""Counts what the gateway answers: kept in plain lists on the hot path, handed to Ray's metrics each second."""

import asyncio
import contextlib
import logging
from collections import Counter as Counts
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ray.serve import metrics

from configs.log import LOGGER
from deployments.statistics import Statistics
from graphs.executor import Executor
from graphs.run import Event, NodeTiming
from monitoring import names
from monitoring.names import Metric

logger = logging.getLogger(LOGGER)

FLUSH_PERIOD_S = 1.0
MOST_SAMPLES = 100_000
"""Latencies and calls kept between two flushes, far more than a gateway has in a second: the oldest go first."""

_Counts = Counts[tuple[str, str, str]]


def _samples() -> deque:
    return deque(maxlen=MOST_SAMPLES)


@dataclass(slots=True)
class _Noted:
    """What happened since the last flush."""

    requests: _Counts = field(default_factory=Counts)
    errors: _Counts = field(default_factory=Counts)
    events: _Counts = field(default_factory=Counts)
    latencies: deque[tuple[str, str, float]] = field(default_factory=_samples)
    nodes: deque[tuple[str, NodeTiming]] = field(default_factory=_samples)


class Recorder:
    """Metrics of one gateway replica. Used from its event loop only.

    Args:
        executors: graph → its executor, whose waiting requests are read at each flush.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self._executors = executors
        self.statistics = Statistics(executors)
        self._noted = _Noted()
        self._ray = {metric.name: ray_metric(metric) for metric in names.GATEWAY}
        self._task: asyncio.Task[None] | None = None

    def answered(self, graph: str, protocol: str, seconds: float, nodes: Collection[NodeTiming], rows: int) -> None:
        """Note a request that got its answer. Calls of nodes are counted once, at the oldest request in them."""
        self.statistics.answered(graph, seconds, rows, nodes)
        self._noted.requests[graph, protocol, "OK"] += 1
        self._noted.latencies.append((graph, protocol, seconds))
        self._noted.nodes.extend((graph, timing) for timing in nodes if timing.leads)
        self._start()

    def happened(self, graph: str, events: Iterable[Event]) -> None:
        """Note what nodes' policies did: (node, event, how often)."""
        for node, event, times in events:
            self._noted.events[graph, node, event] += times

    def failed(self, graph: str, protocol: str, error: Exception, code: str, seconds: float) -> None:
        """Note a request that got an error after so many seconds."""
        self.statistics.failed(graph, seconds)
        if graph not in self._executors:
            graph = ""  # a caller's own word: each would be a series of its own for ever
        self._noted.requests[graph, protocol, code] += 1
        self._noted.errors[graph, protocol, type(error).__name__] += 1
        self._start()

    async def close(self) -> None:
        """Hand over what is left and stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.flush()

    async def flush(self) -> None:
        """Hand everything noted so far to Ray, in a thread: a second's worth would hold up the event loop."""
        noted, self._noted = self._noted, _Noted()
        waiting = {graph: executor.waiting for graph, executor in self._executors.items()}
        try:
            await asyncio.to_thread(self._hand_over, noted, waiting)
        except Exception:  # whatever Ray's metrics raise, requests are answered and the next second is counted
            logger.exception("metrics of the last %s s are lost", FLUSH_PERIOD_S)

    def _hand_over(self, noted: _Noted, waiting: Mapping[str, int]) -> None:
        self._count(names.REQUESTS, "code", noted.requests)
        self._count(names.ERRORS, "error", noted.errors)
        for (graph, node, event), times in noted.events.items():
            self._ray[names.NODE_EVENTS.name].inc(times, {"graph": graph, "node": node, "event": event})
        for graph, protocol, seconds in noted.latencies:
            self._ray[names.LATENCY.name].observe(seconds * 1e3, {"graph": graph, "protocol": protocol})
        for graph, timing in noted.nodes:
            self._observe_node(graph, timing)
        for graph, requests in waiting.items():
            self._ray[names.WAITING.name].set(requests, {"graph": graph})

    def _count(self, metric: Metric, label: str, counts: _Counts) -> None:
        for (graph, protocol, value), count in counts.items():
            self._ray[metric.name].inc(count, {"graph": graph, "protocol": protocol, label: value})

    def _observe_node(self, graph: str, timing: NodeTiming) -> None:
        labels = {"graph": graph, "node": timing.node, "version": timing.version}
        self._ray[names.NODE_QUEUE.name].observe(timing.queue_s * 1e3, labels)
        self._ray[names.NODE_COMPUTE.name].observe(timing.compute_s * 1e3, labels)
        self._ray[names.BATCH_ROWS.name].observe(timing.rows, labels)

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._flush_forever())

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            await self.flush()


def ray_metric(metric: Metric) -> "metrics.Counter | metrics.Gauge | metrics.Histogram":
    """A metric as Ray exports it."""
    match metric.kind:
        case "counter":
            return metrics.Counter(metric.name, metric.description, tag_keys=metric.labels)
        case "gauge":
            return metrics.Gauge(metric.name, metric.description, tag_keys=metric.labels)
        case "histogram":
            return metrics.Histogram(
                metric.name, metric.description, boundaries=list(metric.bounds), tag_keys=metric.labels
            )
