"""Plain JSON at `/<graph>`, and the pages that explain it: what people meet first."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import orjson

from configs.tensors import Rows
from deployments.answering import Answering
from deployments.http_infer import infer_handler
from deployments.http_messages import HTML, JSON, PLAIN, Handler, Headers, Request, Response, Route
from deployments.http_models import described, for_its_model
from deployments.http_v2 import metadata
from deployments.protocols import openapi, plain
from deployments.protocols.request import InferRequest
from deployments.service import GraphService


class PlainCodec:
    """`POST /<graph>`: named inputs as nested lists, or files."""

    protocol = PLAIN

    def __init__(self, service: GraphService) -> None:
        self._signature = service.signature

    def decode(self, http: Request) -> InferRequest:
        """A checked request."""
        content_type = http.headers.get(b"content-type", b"").decode("latin-1")
        return plain.decode(http.body, content_type, self._signature)

    def encode(self, request: InferRequest, outputs: Rows) -> tuple[bytes, Headers]:
        """Named outputs."""
        return plain.encode(request, outputs), [JSON]


def plain_routes(answering: Answering) -> Iterator[Route]:
    """`/<graph>` for every graph."""

    def handler(chosen: GraphService) -> Handler:
        return infer_handler(answering, chosen, PlainCodec(chosen))

    for service in answering.services.values():
        yield described(answering, service, PLAIN, f"/{service.name}", metadata)
        yield Route("POST", f"/{service.name}", for_its_model(answering, service, PLAIN, handler))


def docs_routes(
    answering: Answering, server_version: str, custom: Mapping[str, Any], servables: Collection[str]
) -> Iterator[Route]:
    """The OpenAPI document, which tells of the user's own routes too, its page, and the way there."""
    graphs = [(service.name, service.description, service.signature) for service in answering.services.values()]
    graphs += [
        (service.name + openapi.OF_A_MODEL, service.description, service.naming.signature)
        for service in answering.services.values()
        if service.naming is not None
    ]
    paths = openapi.openapi_document(graphs, server_version, custom, servables)
    page = openapi.docs_page("openapi.json").encode()

    async def described(request: Request) -> Response:
        return Response(orjson.dumps({**paths, "servers": [{"url": request.root or "/"}]}))

    async def docs(request: Request) -> Response:
        return Response(page, [HTML])

    async def index(request: Request) -> Response:
        return Response(b"", [(b"location", f"{request.root}/docs".encode())], 307)

    yield Route("GET", "/openapi.json", described)
    yield Route("GET", "/docs", docs)
    yield Route("GET", "/", index)
    yield Route("GET", "", index)
