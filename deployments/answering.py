"""What every door does with a decoded request: find the graph, run it, count it."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from configs.errors import MillraceError, NodeError, NotFound
from configs.tensors import Rows
from deployments.protocols.request import InferRequest
from deployments.recorder import Recorder
from deployments.service import GraphService
from deployments.settings import LOGGER
from graphs.executor import NodeTiming

logger = logging.getLogger(LOGGER)

GRAPH_VERSION = "1"
"""The version under which a graph appears to clients; the versions of its models are counted per node."""
PLATFORM = "millrace_graph"
"""The platform of every graph in v2 model metadata."""


@dataclass(slots=True)
class Answered:
    """An answer and where its time went."""

    request: InferRequest
    outputs: Rows
    nodes: list[NodeTiming]


class Answering:
    """Runs requests for all doors of a gateway."""

    def __init__(self, services: Mapping[str, GraphService], recorder: Recorder) -> None:
        self.services = services
        self.recorder = recorder

    def service(self, graph: str, version: str = "") -> GraphService:
        """The graph of that name. Raises NotFound in the words that Triton's clients look for."""
        service = self.services.get(graph)
        if service is None:
            known = ", ".join(sorted(self.services))
            raise NotFound(f"Request for unknown model: '{graph[:100]}' is not found; this server has {known}")
        if version not in ("", GRAPH_VERSION):
            raise NotFound(
                f"Request for unknown model: '{graph}' has no version '{version[:100]}'; it has {GRAPH_VERSION}"
            )
        return service

    async def infer(self, service: GraphService, request: InferRequest) -> Answered:
        """Run the graph. Raises MillraceError, whatever went wrong."""
        try:
            outputs, trace = await service.infer(request.rows, request.row_count)
        except MillraceError:
            raise
        except Exception as error:  # the edge of the replica: the caller gets an answer, the log the stack trace
            logger.exception("graph %s failed", service.name)
            raise NodeError(f"graph {service.name} failed inside the server ({type(error).__name__})") from error
        if request.outputs is not None:
            outputs = {wanted.name: outputs[wanted.name] for wanted in request.outputs}
        return Answered(request, outputs, trace.nodes)


@dataclass(slots=True)
class Stopwatch:
    """Times one request and counts how it ended."""

    recorder: Recorder
    protocol: str
    started: float

    @classmethod
    def start(cls, recorder: Recorder, protocol: str) -> "Stopwatch":
        """Begin now."""
        return cls(recorder, protocol, time.perf_counter())

    def answered(self, graph: str, nodes: list[NodeTiming]) -> float:
        """Count an answer; returns the seconds since the start."""
        seconds = time.perf_counter() - self.started
        self.recorder.answered(graph, self.protocol, seconds, nodes)
        return seconds

    def failed(self, graph: str, error: MillraceError, code: str) -> None:
        """Count an error."""
        self.recorder.failed(graph, self.protocol, error, code)
        level = logging.WARNING if error.http_status >= 500 else logging.INFO
        logger.log(level, "%s request for graph %s failed: %s", self.protocol, graph or "(unknown)", error.message)
