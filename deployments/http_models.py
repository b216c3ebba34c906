"""HTTP routes of a graph of many models: each request is answered for the model that its path or header names."""

from collections.abc import Callable

import orjson

from configs.errors import MillraceError
from deployments.answering import Answering, Stopwatch
from deployments.http_messages import EventStream, Handler, Request, Response, Route, document
from deployments.naming import MODEL_HEADER
from deployments.service import GraphService

_HEADER = MODEL_HEADER.encode()

Content = Callable[[GraphService], object]
"""What a document says of a graph."""


def for_its_model(
    answering: Answering, service: GraphService, protocol: str, make: Callable[[GraphService], Handler]
) -> Handler:
    """What answers for a graph; of a graph of many models, for the model that a request names, if it names one."""
    if service.naming is None:
        return make(service)

    async def handler(request: Request) -> Response | EventStream:
        try:
            chosen = _chosen(service, request)
        except MillraceError as error:
            Stopwatch.start(answering.recorder, protocol).failed(service.name, error, str(error.http_status))
            raise
        return await make(chosen)(request)

    return handler


def described(answering: Answering, service: GraphService, protocol: str, path: str, content: Content) -> Route:
    """A route that tells of a graph, or of one of its models. Raises NotFound for a model that is not there."""
    if service.naming is None:
        return document(path, content(service))
    return Route("GET", path, for_its_model(answering, service, protocol, lambda chosen: _tells(chosen, content)))


def with_model(handler: Handler, model: str) -> Handler:
    """The handler, for requests whose path names a model."""

    async def named(request: Request) -> Response | EventStream:
        request.model = model
        return await handler(request)

    return named


def _chosen(service: GraphService, request: Request) -> GraphService:
    header = request.headers.get(_HEADER)
    by_path = service if request.model is None else service.of(request.model)
    return by_path if header is None else by_path.by_header(header.decode("latin-1"))


def _tells(service: GraphService, content: Content) -> Handler:
    async def handler(request: Request) -> Response:
        await service.check_model()
        return Response(orjson.dumps(content(service)))

    return handler
