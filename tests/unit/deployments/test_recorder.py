"""What the gateway notes reaches the metrics, whatever they raise, and never fills the memory."""

import asyncio
import threading
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest

from configs.errors import InvalidInput
from deployments import recorder
from deployments.recorder import Recorder
from graphs.run import NodeTiming
from monitoring.names import Metric


class Metrics:
    """In the place of Ray's: remembers (metric, labels) → values, and the threads that gave them."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self.threads: set[int] = set()
        self.broken = False

    def of(self, metric: Metric) -> SimpleNamespace:
        def take(value: float, labels: dict[str, str]) -> None:
            if self.broken:
                raise RuntimeError("no agent")
            self.threads.add(threading.get_ident())
            self.seen[metric.name, *labels.values()].append(value)

        return SimpleNamespace(inc=take, observe=take, set=take)


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    metrics = Metrics()
    monkeypatch.setattr(recorder, "ray_metric", metrics.of)
    monkeypatch.setattr(recorder, "FLUSH_PERIOD_S", 0.001)
    return metrics


def new(**executors: Any) -> Recorder:
    return Recorder(executors or {"g": SimpleNamespace(waiting=5)})


async def until_seen(metrics: Metrics, *key: str) -> None:
    async with asyncio.timeout(10):
        while key not in metrics.seen:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_what_was_noted_is_handed_over_in_another_thread(metrics: Metrics) -> None:
    noted = new()
    leads, follows = NodeTiming("n", 0.001, 0, 0.002, 4, version="3"), NodeTiming("n", 0, 0, 0.002, 4, leads=False)
    noted.answered("g", "v2-http", 0.25, [leads, follows], 1)
    noted.failed("g", "v2-http", InvalidInput("x"), "400", 0.25)
    await until_seen(metrics, "millrace_waiting_requests", "g")
    await noted.close()
    metrics.seen.pop(("millrace_waiting_requests", "g"))
    assert metrics.seen == {
        ("millrace_requests", "g", "v2-http", "OK"): [1],
        ("millrace_requests", "g", "v2-http", "400"): [1],
        ("millrace_errors", "g", "v2-http", "InvalidInput"): [1],
        ("millrace_request_latency_ms", "g", "v2-http"): [250],
        ("millrace_node_queue_ms", "g", "n", "3"): [1],
        ("millrace_node_compute_ms", "g", "n", "3"): [2],
        ("millrace_batch_rows", "g", "n", "3"): [4],
    }
    assert threading.get_ident() not in metrics.threads


async def test_metrics_that_fail_are_logged_and_the_next_second_counts(
    metrics: Metrics, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.logger, "propagate", True)
    metrics.broken = True
    noted = new()
    noted.answered("g", "handle", 0.25, [], 1)
    async with asyncio.timeout(10):
        while not caplog.messages:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    metrics.broken = False
    noted.answered("g", "handle", 0.5, [], 1)
    await until_seen(metrics, "millrace_request_latency_ms", "g", "handle")
    await noted.close()
    assert metrics.seen["millrace_request_latency_ms", "g", "handle"] == [500]
    assert "metrics of the last" in caplog.messages[0]


async def test_closing_hands_over_the_rest(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_PERIOD_S", 60)
    noted = new()
    noted.answered("g", "handle", 0.25, [], 1)
    await noted.close()
    assert metrics.seen["millrace_requests", "g", "handle", "OK"] == [1]


async def test_memory_is_bounded(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_PERIOD_S", 60)
    monkeypatch.setattr(recorder, "MOST_SAMPLES", 3)
    noted = new()
    for number in range(5):
        noted.answered("g", "handle", number, [], 1)
        noted.failed(f"unknown-{number}", "v2-grpc", InvalidInput("x"), "NOT_FOUND", 0.25)
    await noted.close()
    assert metrics.seen["millrace_request_latency_ms", "g", "handle"] == [2000, 3000, 4000]
    assert metrics.seen["millrace_requests", "g", "handle", "OK"] == [5]
    assert metrics.seen["millrace_requests", "", "v2-grpc", "NOT_FOUND"] == [5]
