"""A user's own FastAPI routers: imported, checked, and served where none of our routes is."""

import importlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import Match
from starlette.websockets import WebSocket

from configs.errors import ConfigError, MillraceError
from deployments.answering import Answering, internal_error
from deployments.http_messages import error_response
from deployments.routes import GraphDependency

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_FAILED = 1011
"""WebSocket's code of a server that cannot go on (RFC 6455, 7.4.1); 1008 is of a caller at fault."""
_REFUSED = 1008
_LONGEST_REASON = 123
"""Bytes of a WebSocket's reason for closing, by its framing."""


def import_router(path: str, graphs: Collection[str]) -> APIRouter:
    """The router at `package.module:name`, whose routes may ask for these graphs.

    Raises ConfigError: it cannot be imported, is no APIRouter, or asks for a graph that is not there.
    """
    module_name, _, name = path.partition(":")
    try:
        router: Any = importlib.import_module(module_name)
        for part in name.split("."):
            router = getattr(router, part)
    except Exception as error:  # a user's module may raise anything; the config's author must read why
        raise ConfigError(f"router {path} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(router, APIRouter):
        raise ConfigError(f"router {path} is a {type(router).__name__}, not a fastapi.APIRouter")
    if unknown := sorted(set(_asked_for(router)) - {*graphs}):
        served = ", ".join(sorted(graphs))
        raise ConfigError(f"router {path} asks for the graph {unknown[0]!r}; the application serves {served}")
    return router


def import_routers(paths: Iterable[str], graphs: Collection[str]) -> dict[str, APIRouter]:
    """All of them, by their paths. Raises ConfigError with the problems of all."""
    routers, problems = {}, []
    for path in paths:
        try:
            routers[path] = import_router(path, graphs)
        except ConfigError as error:
            problems.append(error.message)
    if problems:
        raise ConfigError("\n".join(problems))
    return routers


def mounted(routers: Iterable[APIRouter], answering: Answering, refuse: Callable[[Scope], MillraceError]) -> FastAPI:
    """An application of the routers, whose routes find the graphs and whose errors look like ours.

    Args:
        answering: runs the graphs.
        refuse: says why nothing answers at a path that no route has either.
    """
    app = FastAPI(title="", version="1", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.millrace = answering
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(MillraceError, _answer_error)
    app.add_exception_handler(Exception, _answer_error)

    async def nothing_there(scope: Scope, receive: Receive, send: Send) -> None:
        raise refuse(scope)

    app.router.default = nothing_there  # type: ignore[assignment]  # Starlette's types are MutableMappings
    return app


def check_path(name: str, router: APIRouter, ours: Iterable[str]) -> None:
    """Raises ConfigError if a route of the user's also has a path of ours, where it would never be asked."""
    for path in ours:
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        if path and any(route.matches(scope)[0] is not Match.NONE for route in router.routes):
            raise ConfigError(f"router {name} has a route for {path}, which is a path of ours; give it a prefix")


def _asked_for(router: APIRouter) -> Iterator[str]:
    """The graphs that its routes depend on."""
    for context in iter_route_contexts(router.routes):
        dependant = getattr(context, "dependant", None)
        if dependant is not None:
            yield from _graphs_of(dependant)


def _graphs_of(dependant: Dependant) -> Iterator[str]:
    if isinstance(dependant.call, GraphDependency):
        yield dependant.call.name
    for inner in dependant.dependencies:
        yield from _graphs_of(inner)


async def _answer_error(connection: HTTPConnection, error: Exception) -> Response:
    """What a caller gets of an error that the route let pass. The door logs what nobody foresaw."""
    told = error if isinstance(error, MillraceError) else internal_error(error)
    if isinstance(connection, WebSocket):
        reason = told.message.encode()[:_LONGEST_REASON].decode(errors="ignore")
        await connection.close(_FAILED if told.http_status >= 500 else _REFUSED, reason)
    answer = error_response(told)
    return Response(answer.body, answer.status, {key.decode(): value.decode() for key, value in answer.headers})
