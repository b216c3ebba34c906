"""`…/generate` and `…/generate_stream`: one row in, one JSON object or a stream of server-sent events out."""

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from configs.errors import MillraceError
from configs.log import LOGGER
from configs.tensors import Rows
from deployments.answering import GRAPH_VERSION, Answering, Stopwatch, internal_error
from deployments.http_infer import infer_handler, terms
from deployments.http_messages import JSON, V2, EventStream, Handler, Headers, Request, Route
from deployments.http_models import for_its_model
from deployments.http_tracing import traced
from deployments.large import off_loop, size_of
from deployments.protocols import generate
from deployments.protocols.request import InferRequest, spec_of
from deployments.protocols.v2_json import error_body
from deployments.service import GraphService
from graphs.run import NodeTiming

logger = logging.getLogger(LOGGER)


class GenerateCodec:
    """Triton's generate extension for one graph."""

    protocol = V2

    def __init__(self, service: GraphService) -> None:
        self._name, self._signature = service.asked_as, service.signature
        self._named = service.naming.input if service.naming and service.model else None

    def decode(self, http: Request) -> InferRequest:
        """A checked request of one row."""
        request = generate.decode(http.body, self._signature, self._name, GRAPH_VERSION)
        if self._named in request.parameters:  # what is no input is a parameter here, and nobody would read this one
            spec_of(self._named, self._signature.inputs or {})
        return request

    def encode(self, request: InferRequest, outputs: Rows) -> tuple[bytes, Headers]:
        """One JSON object."""
        return generate.encode(request, outputs, self._name, GRAPH_VERSION), [JSON]


def generate_routes(answering: Answering, service: GraphService, base: str) -> Iterator[Route]:
    """Both routes below a graph's path."""

    def one(chosen: GraphService) -> Handler:
        return infer_handler(answering, chosen, GenerateCodec(chosen))

    def several(chosen: GraphService) -> Handler:
        return _stream_handler(answering, chosen, GenerateCodec(chosen))

    yield Route("POST", f"{base}/generate", for_its_model(answering, service, V2, one))
    yield Route("POST", f"{base}/generate_stream", for_its_model(answering, service, V2, several))


def _stream_handler(answering: Answering, service: GraphService, codec: GenerateCodec) -> Handler:
    async def handler(http: Request) -> EventStream:
        events = _events(answering, service, codec, http)
        return EventStream(await anext(events, b""), events)

    return traced(handler, answering.tracing, codec.protocol)


async def _events(
    answering: Answering, service: GraphService, codec: GenerateCodec, http: Request
) -> AsyncGenerator[bytes, None]:
    """An event for each answer. An error before the first is raised; a later one is the last event."""
    watch, begun = Stopwatch.start(answering.recorder, codec.protocol), False
    nodes: list[NodeTiming] = []
    try:
        with answering.slot(http.headers):
            request = await off_loop(len(http.body), codec.decode, http)
            answers = answering.stream(service, request, terms(http, request))
            async with aclosing(answers):
                async for answer in answers:
                    nodes += answer.nodes
                    data, _ = await off_loop(size_of(answer.outputs), codec.encode, request, answer.outputs)
                    yield generate.event(data)
                    begun = True
    except Exception as error:  # the edge of the replica: what has begun with 200 can only end with an event
        if not begun:
            if isinstance(error, MillraceError):
                watch.failed(service.name, error, str(error.http_status))
            raise
        yield generate.event(error_body(_late(error, watch, service.name).message))
    else:
        watch.answered(service.name, nodes, request.row_count)


def _late(error: Exception, watch: Stopwatch, graph: str) -> MillraceError:
    """Count an error in a stream that has begun; returns what the caller hears of it."""
    if isinstance(error, MillraceError):
        told = error
    else:
        logger.error("a stream of graph %s failed", graph, exc_info=error)
        told = internal_error(error)
    watch.failed(graph, told, str(told.http_status))
    return told
