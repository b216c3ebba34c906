"""The Open Inference Protocol v2 over HTTP, with Triton's extensions: what answers below `/v2`."""

from collections.abc import Iterator
from typing import Any

import orjson

from configs.tensors import Rows
from deployments.admin import Admin
from deployments.answering import GRAPH_VERSION, PLATFORM, Answering
from deployments.http_admin import operators_body
from deployments.http_generate import generate_routes
from deployments.http_infer import infer_handler
from deployments.http_messages import (
    BINARY,
    JSON,
    V2,
    Handler,
    Headers,
    Request,
    Response,
    Route,
    authorization,
    document,
)
from deployments.http_models import described, for_its_model
from deployments.operations import Action
from deployments.protocols import repository, v2_json
from deployments.protocols.arrays import parse_object
from deployments.protocols.model_config import model_config
from deployments.protocols.request import InferRequest, Parameter, parameters_of
from deployments.service import GraphService

_HEADER_LENGTH = v2_json.HEADER_LENGTH.lower().encode()


class V2Codec:
    """`…/infer` of one graph, in JSON and with binary tensors."""

    protocol = V2

    def __init__(self, service: GraphService) -> None:
        self._name, self._signature = service.asked_as, service.signature

    def decode(self, http: Request) -> InferRequest:
        """A checked request."""
        length = http.headers.get(_HEADER_LENGTH)
        text = None if length is None else length.decode("latin-1")
        return v2_json.decode_infer(http.body, text, self._signature, self._name, GRAPH_VERSION)

    def encode(self, request: InferRequest, outputs: Rows) -> tuple[bytes, Headers]:
        """The answer, with binary tensors where they are asked for."""
        body, header = v2_json.encode_infer(request, outputs, self._name, GRAPH_VERSION)
        if isinstance(body, bytes):
            return body, [JSON]
        return b"".join(body), [BINARY, (_HEADER_LENGTH, b"%d" % (header or 0))]


def v2_routes(answering: Answering, server_name: str, server_version: str, admin: Admin | None) -> Iterator[Route]:
    """Every route below `/v2`."""
    yield document("/v2", v2_json.server_metadata(server_name, server_version, v2_json.EXTENSIONS))
    yield document("/v2/health/live", {"live": True})
    yield document("/v2/health/ready", {"ready": True})
    yield document("/v2/models", {"models": sorted(answering.services)})
    yield Route("GET", "/v2/models/stats", _statistics(answering, ""))
    yield from _repository_routes(answering, admin)
    for service in answering.services.values():
        yield from _graph_routes(answering, service)


def _graph_routes(answering: Answering, service: GraphService) -> Iterator[Route]:
    def infer(chosen: GraphService) -> Handler:
        return infer_handler(answering, chosen, V2Codec(chosen))

    def statistics(chosen: GraphService) -> Handler:
        return _statistics(answering, chosen.name)

    of = (answering, service, V2)
    for base in (f"/v2/models/{service.name}", f"/v2/models/{service.name}/versions/{GRAPH_VERSION}"):
        yield described(*of, base, metadata)
        yield described(*of, f"{base}/ready", lambda chosen: {"name": chosen.asked_as, "ready": True})
        yield described(*of, f"{base}/config", _config)
        yield Route("GET", f"{base}/stats", for_its_model(*of, statistics))
        yield Route("POST", f"{base}/infer", for_its_model(*of, infer))
        yield from generate_routes(answering, service, base)


def metadata(service: GraphService) -> dict[str, Any]:
    """What v2 and plain JSON tell of a graph."""
    return v2_json.model_metadata(service.asked_as, [GRAPH_VERSION], service.signature, PLATFORM)


def _config(service: GraphService) -> dict[str, Any]:
    rows = service.executor.plan.graph.config.batch.max_rows
    return model_config(service.asked_as, service.signature, PLATFORM, rows, service.decoupled)


def _statistics(answering: Answering, graph: str) -> Handler:
    async def handler(request: Request) -> Response:
        return Response(orjson.dumps(answering.recorder.statistics.document(GRAPH_VERSION, graph)))

    return handler


def _repository_routes(answering: Answering, admin: Admin | None) -> Iterator[Route]:
    async def answer_index(request: Request) -> Response:
        ready = bool(request.body) and parse_object(request.body, "an object with `ready`").get("ready") is True
        standing = admin.standing() if admin else []
        names = [*answering.services, *await answering.models()]
        return Response(orjson.dumps(repository.index(names, GRAPH_VERSION, standing, ready)))

    yield Route("POST", "/v2/repository/index", answer_index)
    for name in answering.services:
        yield Route("POST", f"/v2/repository/models/{name}/load", _load(answering, name))
        yield Route("POST", f"/v2/repository/models/{name}/unload", _unload(name))
    if admin is not None:
        for name in admin.servables:
            for action in (Action.LOAD, Action.UNLOAD):
                yield Route("POST", f"/v2/repository/models/{name}/{action}", _changes(admin, action, name))


def _load(answering: Answering, name: str) -> Handler:
    async def handler(request: Request) -> Response:
        repository.load(name, answering.services, _parameters(request.body))
        return Response(b"{}")

    return handler


def _unload(name: str) -> Handler:
    async def handler(request: Request) -> Response:
        raise repository.unload(name)

    return handler


def _changes(admin: Admin, action: Action, name: str) -> Handler:
    async def handler(request: Request) -> Response:
        operation = repository.operation(action, name, _parameters(operators_body(request)))
        await admin.ask(authorization(request), operation)
        return Response(b"{}")

    return handler


def _parameters(body: bytes) -> dict[str, Parameter]:
    return parameters_of(parse_object(body, "an object with `parameters`").get("parameters")) if body else {}
