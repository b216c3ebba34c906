"""Every metric that Millrace exports: its name, kind, labels and meaning, in one table."""

from dataclasses import dataclass
from typing import Literal

LATENCY_MS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000)
"""Upper bounds of latency buckets, in milliseconds."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)
"""Upper bounds of batch size buckets, in rows."""


@dataclass(frozen=True)
class Metric:
    """One metric. Ray's agent exports it with the prefix `ray_`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()


REQUESTS = Metric(
    "millrace_requests", "counter", "Requests answered, by protocol and status code.", ("graph", "protocol", "code")
)
LATENCY = Metric(
    "millrace_request_latency_ms",
    "histogram",
    "Milliseconds from a request's arrival in the gateway until its answer is encoded.",
    ("graph", "protocol"),
    LATENCY_MS,
)
ERRORS = Metric(
    "millrace_errors", "counter", "Requests that failed, by the class of the error.", ("graph", "protocol", "error")
)
NODE_QUEUE = Metric(
    "millrace_node_queue_ms",
    "histogram",
    "Milliseconds that the oldest request of a call waited for a node that was busy.",
    ("graph", "node", "version"),
    LATENCY_MS,
)
NODE_COMPUTE = Metric(
    "millrace_node_compute_ms",
    "histogram",
    "Milliseconds of each call of a node.",
    ("graph", "node", "version"),
    LATENCY_MS,
)
BATCH_ROWS = Metric(
    "millrace_batch_rows",
    "histogram",
    "Rows in each call of a node.",
    ("graph", "node", "version"),
    ROWS,
)
NODE_EVENTS = Metric(
    "millrace_node_events",
    "counter",
    "What a node's policy did: retry, fallback, hedge, hedge won, cache hit (rows), cache away.",
    ("graph", "node", "event"),
)
WAITING = Metric("millrace_waiting_requests", "gauge", "Requests that wait for a busy node of the gateway.", ("graph",))

VERSION_TRANSITIONS = Metric(
    "millrace_version_transitions",
    "counter",
    "Versions that came into a phase of their life, as `failed` or `routed`.",
    ("servable", "phase"),
)
ROUTED_VERSION = Metric(
    "millrace_routed_version", "gauge", "Number of the version that has a servable's traffic.", ("servable",)
)

POOL_MODELS = Metric("millrace_pool_models", "gauge", "Loaded models of a `models` node.", ("graph", "node"))
POOL_BYTES = Metric(
    "millrace_pool_bytes", "gauge", "Bytes of the models that are loaded or being loaded.", ("graph", "node", "memory")
)
POOL_EVENTS = Metric(
    "millrace_pool_events",
    "counter",
    "What happened in a pool: hits, misses (uses that found a model loaded, or did not), loads, failures, evictions.",
    ("graph", "node", "event"),
)

GATEWAY = (REQUESTS, LATENCY, ERRORS, NODE_QUEUE, NODE_COMPUTE, BATCH_ROWS, NODE_EVENTS, WAITING)
"""Each gateway exports these."""
CONTROL = (VERSION_TRANSITIONS, ROUTED_VERSION)
"""Control exports these."""
POOL = (POOL_MODELS, POOL_BYTES, POOL_EVENTS)
"""Each replica of the stage of a `models` node exports these."""
ALL = (*GATEWAY, *CONTROL, *POOL)
