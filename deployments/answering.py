"""What every door does with a decoded request: find the graph, run it, count it."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np

from configs.errors import DeadlineExceeded, MillraceError, NodeError, NotFound
from configs.log import LOGGER
from configs.tensors import Datatype, Rows
from deployments import spans
from deployments.clients import UNLIMITED, Clients
from deployments.protocols.binary import as_bytes
from deployments.protocols.request import InferRequest
from deployments.recorder import Recorder
from deployments.service import GraphService
from deployments.tracing import Tracing
from graphs.run import NodeTiming, Trace
from graphs.terms import UNHURRIED, Terms
from servables.shelf import unknown

logger = logging.getLogger(LOGGER)

GRAPH_VERSION = "1"
"""The version under which a graph appears to clients; the versions of its models are counted per node."""
PLATFORM = "millrace_graph"
"""The platform of every graph in v2 model metadata."""

_NO_WAIT: AbstractAsyncContextManager[object] = nullcontext()


@dataclass(slots=True)
class Answered:
    """Outputs that every codec can write, and where the time went."""

    outputs: Rows
    nodes: list[NodeTiming]


class Answering:
    """Runs requests for all doors of a gateway."""

    def __init__(
        self,
        services: Mapping[str, GraphService],
        recorder: Recorder,
        tracing: Tracing | None = None,
        clients: Clients | None = None,
    ) -> None:
        self.services = services
        self.recorder = recorder
        self.tracing = tracing
        self.clients = clients
        self._turns: WeakValueDictionary[tuple[str, int | str], asyncio.Lock] = WeakValueDictionary()

    def service(self, graph: str, version: str = "") -> GraphService:
        """The graph of that name, or for one of its many models: `<graph>.<model>`, which need not be there.

        Raises NotFound in the words that Triton's clients look for.
        """
        service = self.services.get(graph) or self._for_model(graph)
        if service is None:
            raise unknown(graph, f"this server has {', '.join(sorted(self.services))}")
        if version not in ("", GRAPH_VERSION):
            raise NotFound(
                f"Request for unknown model: '{graph}' has no version '{version[:100]}'; it has {GRAPH_VERSION}"
            )
        return service

    def names_model(self, name: str) -> bool:
        """Whether it is `<graph>.<model>` with a graph of many models."""
        graph, dot, _ = name.partition(".")
        return bool(dot) and graph in self.services and self.services[graph].naming is not None

    async def models(self) -> list[str]:
        """`<graph>.<model>` of every model that is there, of all graphs of many models."""
        many = [(service.name, service.naming) for service in self.services.values() if service.naming is not None]
        if not many:
            return []
        listed = await asyncio.to_thread(lambda: [(graph, naming.models()) for graph, naming in many])
        return [f"{graph}.{model}" for graph, models in listed for model in models]

    def slot(self, headers: Mapping[bytes, bytes]) -> AbstractContextManager[None]:
        """Within this context an HTTP request counts as its client's. Entering raises TooManyRequests."""
        return UNLIMITED if self.clients is None else self.clients.by_headers(headers)

    async def infer(self, service: GraphService, request: InferRequest, terms: Terms = UNHURRIED) -> Answered:
        """Run the graph. Raises MillraceError, whatever went wrong; also for an output that no door can write."""
        if self.tracing is not None:
            spans.told(service.name, request.row_count)
        with _foreseen(service):
            async with self._turn(service, terms):
                outputs, trace = await service.infer(request.rows, request.row_count, terms)
        return self._answered(service, request, outputs, trace)

    async def stream(
        self, service: GraphService, request: InferRequest, terms: Terms = UNHURRIED
    ) -> AsyncGenerator[Answered]:
        """As `infer`, for graphs that give several answers: one for each that the graph's last node yields."""
        answers = service.stream(request.rows, request.row_count, terms)
        if self.tracing is not None:
            spans.told(service.name, request.row_count)
            answers = self.tracing.streamed(service.executor.plan.stream, answers)
        async with self._turn(service, terms), aclosing(answers) as all_:
            while True:
                with _foreseen(service):
                    answer = await anext(all_, None)
                if answer is None:
                    return
                yield self._answered(service, request, *answer)

    def _for_model(self, name: str) -> GraphService | None:
        graph, _, model = name.partition(".")
        return self.services[graph].of(model) if self.names_model(name) else None

    def _turn(self, service: GraphService, terms: Terms) -> AbstractAsyncContextManager[object]:
        """Requests of one sequence wait for each other."""
        if terms.sequence is None:
            return _NO_WAIT
        return _in_time(self._turns.setdefault((service.name, terms.sequence.id), asyncio.Lock()), terms)

    def _answered(self, service: GraphService, request: InferRequest, outputs: Rows, trace: Trace) -> Answered:
        wanted = outputs if request.outputs is None else [name for name, _ in request.outputs]
        return Answered({name: _writable(name, outputs[name]) for name in wanted}, trace.nodes)


@asynccontextmanager
async def _in_time(turn: asyncio.Lock, terms: Terms) -> AsyncIterator[None]:
    """Holds the lock; who does not get it by the deadline waits no longer."""
    try:
        async with asyncio.timeout(None if terms.deadline == math.inf else terms.left_s):
            await turn.acquire()
    except TimeoutError:
        raise DeadlineExceeded("the deadline passed before the sequence's earlier requests were answered") from None
    try:
        yield
    finally:
        turn.release()


@contextmanager
def _foreseen(service: GraphService) -> Iterator[None]:
    """Turns what nobody foresaw into an error that a caller may see."""
    try:
        yield
    except MillraceError:
        raise
    except Exception as error:  # the edge of the replica: the caller gets an answer, the log the stack trace
        logger.exception("graph %s failed", service.name)
        raise NodeError(f"graph {service.name} failed inside the server ({type(error).__name__})") from error


def internal_error(error: Exception) -> MillraceError:
    """What a caller hears of an error that nobody foresaw."""
    return MillraceError(f"internal error ({type(error).__name__}); the server's log has the details")


def _writable(name: str, array: np.ndarray) -> np.ndarray:
    try:
        return as_bytes(array) if Datatype.of(array) is Datatype.BYTES else array
    except (TypeError, UnicodeEncodeError) as error:
        raise NodeError(f"output '{name}' cannot be sent: {error}; change the node that makes it") from None


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

    def answered(self, graph: str, nodes: list[NodeTiming], rows: int) -> float:
        """Count an answer; returns the seconds since the start."""
        seconds = time.perf_counter() - self.started
        self.recorder.answered(graph, self.protocol, seconds, nodes, rows)
        return seconds

    def failed(self, graph: str, error: MillraceError, code: str) -> None:
        """Count an error; `graph` is empty unless this gateway knows it, or any caller could make metric labels."""
        spans.failed(error, code)
        self.recorder.failed(graph, self.protocol, error, code, time.perf_counter() - self.started)
        level = logging.WARNING if error.http_status >= 500 else logging.INFO
        logger.log(level, "%s request for graph %s failed: %s", self.protocol, graph or "(unknown)", error.message)
