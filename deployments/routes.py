"""For a user's own routes: the graphs of the same gateway, as FastAPI dependencies."""

import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi import Depends
from opentelemetry.trace import Span
from starlette.requests import HTTPConnection

from configs.errors import MillraceError
from configs.tensors import Rows, Signature
from deployments.answering import Answering, Stopwatch
from deployments.http_messages import ROUTER
from deployments.protocols import handle
from deployments.protocols.request import InferRequest
from deployments.protocols.terms import TIMEOUT_HEADER, timeout_header
from deployments.spans import NO_CALLER, Carried, Following, carried_in, carried_out, ending
from graphs.run import NodeTiming
from graphs.terms import DEFAULT_PRIORITY, Terms


class LocalGraph:
    """Calls one graph in the process that it runs in, for one request to a route. As `deployments.connect.GraphClient`.

    Args:
        answering: runs the graphs of this gateway.
        name: of the graph. Raises NotFound if the gateway has none of that name.
        terms: until when the caller of the route waits.
        carried: the span of the caller of the route; one of the route's own, if it is current, comes between.
    """

    def __init__(self, answering: Answering, name: str, terms: Terms, carried: Carried = NO_CALLER) -> None:
        self.graph = name
        self._answering, self._service, self._terms = answering, answering.service(name), terms
        self._carried = carried

    def urgent(self, timeout_s: float = math.inf, priority: int = DEFAULT_PRIORITY) -> "LocalGraph":
        """This client on other terms; the deadline of the route's own caller still holds.

        Args:
            timeout_s: seconds from now within which an answer is wanted.
            priority: 1 comes first, 10 is the default, larger numbers are less urgent.
        """
        deadline = min(self._terms.deadline, time.monotonic() + timeout_s)
        return LocalGraph(self._answering, self.graph, Terms(deadline, priority), self._carried)

    def signature(self) -> Signature:
        """Inputs and outputs of the graph."""
        return self._service.signature

    async def predict_async(self, **inputs: Any) -> Rows:
        """Outputs for named inputs: arrays, or lists that become arrays of the inputs' datatypes.

        Raises MillraceError; what the route does not catch its caller gets, with the status and the message.
        """
        if (span := self._span()) is None:
            return await self._predict(inputs)
        with ending(span):
            return await self._predict(inputs)

    async def _predict(self, inputs: dict[str, Any]) -> Rows:
        watch = self._watch()
        try:
            request = self._decoded(inputs)
            answer = await self._answering.infer(self._service, request, self._terms)
        except MillraceError as error:
            raise self._counted(watch, error) from error.__cause__
        watch.answered(self._service.name, answer.nodes, request.row_count)
        return answer.outputs

    def stream(self, **inputs: Any) -> AsyncGenerator[Rows]:
        """All answers of a graph whose last node is a generator, or the one of another. Raises as `predict_async`."""
        span, answers = self._span(), self._stream(inputs)
        return answers if span is None else Following(span, answers)

    async def _stream(self, inputs: dict[str, Any]) -> AsyncGenerator[Rows]:
        watch, nodes = self._watch(), list[NodeTiming]()
        try:
            request = self._decoded(inputs)
            async with aclosing(self._answering.stream(self._service, request, self._terms)) as answers:
                async for answer in answers:
                    nodes += answer.nodes
                    yield answer.outputs
        except MillraceError as error:
            raise self._counted(watch, error) from error.__cause__
        watch.answered(self._service.name, nodes, request.row_count)

    def _decoded(self, inputs: dict[str, Any]) -> InferRequest:
        signature = self._service.signature
        return handle.decode(handle.arrays(inputs, signature), self.graph, signature)

    def _span(self) -> Span | None:
        tracing = self._answering.tracing
        return None if tracing is None else tracing.request(carried_out() or self._carried, ROUTER)

    def _watch(self) -> Stopwatch:
        return Stopwatch.start(self._answering.recorder, ROUTER)

    def _counted(self, watch: Stopwatch, error: MillraceError) -> MillraceError:
        watch.failed(self._service.name, error, str(error.http_status))
        return error


@dataclass(frozen=True)
class GraphDependency:
    """What FastAPI calls for each request to a route that asks for a graph. A coroutine, as others go to a thread."""

    name: str

    async def __call__(self, connection: HTTPConnection) -> LocalGraph:
        """The graph, on the terms of this request. Raises InvalidInput for a header that is no time."""
        header = connection.headers.get(TIMEOUT_HEADER)
        terms = Terms() if header is None else Terms.within(timeout_header(header))
        return LocalGraph(connection.app.state.millrace, self.name, terms, carried_in(connection.headers.items()))


def graph(name: str) -> Any:
    """A dependency on a graph of the same application: `Annotated[LocalGraph, graph("digits")]`."""
    return Depends(GraphDependency(name))
