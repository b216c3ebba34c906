"""One request on its way through a plan: its values, its terms, and what is noted of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from configs.tensors import Rows
from graphs.batcher import BatchTiming
from graphs.frame import Frame
from graphs.terms import Terms

Event = tuple[str, str, int]
"""Node, what its policy did (retry, fallback, hedge, cache hit, …), how often."""


@dataclass(slots=True)
class NodeTiming:
    """Where the time of one node went for one request, in seconds."""

    node: str
    queue_s: float
    batch_s: float
    compute_s: float
    rows: int
    """Rows in the call that this request shared."""
    leads: bool = True
    """Whether this request was the oldest of the call."""
    version: str = ""
    """Of the servable that answered; empty for code."""


@dataclass(slots=True)
class Trace:
    """What one run did."""

    nodes: list[NodeTiming] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def add(self, timing: BatchTiming) -> None:
        """Note a batched call: waiting is counted once, at its first node."""
        queue_s, batch_s = timing.queue_s, timing.batch_s
        for (node, version), seconds in timing.compute_s.items():
            self.nodes.append(NodeTiming(node, queue_s, batch_s, seconds, timing.rows, timing.leads, version))
            queue_s = batch_s = 0.0


@dataclass(slots=True)
class Run:
    """What the steps of one request share."""

    frame: Frame
    trace: Trace
    terms: Terms


Answer = tuple[Rows, BatchTiming]
NodeCall = Callable[[Rows, int, Run], Awaitable[Answer]]
"""How one node is called for one request: its named inputs and their rows in, its outputs out."""
