"""The admin API over HTTP, below `/admin`: operators see versions, and load, roll back and unload them."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import orjson

from configs.errors import InvalidInput, TooLarge
from deployments.admin import Admin, bearer
from deployments.http_messages import Handler, Request, Response, Route, authorization
from deployments.operations import Action, Operation
from deployments.protocols.arrays import parse_object
from deployments.protocols.request import shown

PREFIX = "/admin/servables"
MOST_HISTORY = 1000
LARGEST_BYTES = 4096
_LARGEST = 2**63 - 1


def admin_routes(admin: Admin) -> Iterator[Route]:
    """Every route below `/admin`."""
    yield Route("GET", PREFIX, _lists(admin))
    for name in admin.servables:
        yield Route("GET", f"{PREFIX}/{name}", _lists(admin, name))
        yield Route("GET", f"{PREFIX}/{name}/history", _history(admin, name))
        for action in (Action.LOAD, Action.ROLLBACK, Action.UNLOAD):
            yield Route("POST", f"{PREFIX}/{name}/{action}", _changes(admin, name, action))


def _lists(admin: Admin, name: str = "") -> Handler:
    async def handler(request: Request) -> Response:
        answer = await admin.ask(authorization(request), Operation(Action.LIST, name))
        return Response(orjson.dumps(answer[0] if name else {"servables": answer}))

    return handler


def _history(admin: Admin, name: str) -> Handler:
    async def handler(request: Request) -> Response:
        shown_token = authorization(request)
        bearer(shown_token)
        operation = Operation(Action.HISTORY, name, limit=_limit(request.query))
        return Response(orjson.dumps({"history": await admin.ask(shown_token, operation)}))

    return handler


def _changes(admin: Admin, name: str, action: Action) -> Handler:
    async def handler(request: Request) -> Response:
        operation = Operation(action, name, _version(operators_body(request), action))
        return Response(orjson.dumps((await admin.ask(authorization(request), operation))[0]))

    return handler


def operators_body(request: Request) -> bytes:
    """A body for control. It is not parsed for just anyone.

    Raises:
        Unauthorized: no token is shown.
        TooLarge: nothing that an operator asks for is so long.
    """
    bearer(authorization(request))
    if len(request.body) > LARGEST_BYTES:
        raise TooLarge(f"the body has {len(request.body):,} bytes; an operator's has at most {LARGEST_BYTES:,}")
    return request.body


def _version(body: bytes, action: Action) -> int | None:
    """The version that a body names. Raises InvalidInput for one that is not of this action."""
    key, takes = _TAKES[action]
    document = parse_object(body, f"an object: {action} takes {takes}") if body.strip() else {}
    version: Any = document.pop(key, None)
    if document:
        raise InvalidInput(f"{action} does not take {', '.join(map(shown, document))}, but {takes}")
    if version is None and action is not Action.LOAD:
        raise InvalidInput(f"{action} takes {takes}; there is no version in the body")
    if version is not None and (type(version) is not int or not 0 <= version <= _LARGEST):
        raise InvalidInput(f"{key} is {shown(version)}; it must be a whole number from 0 to 2^63-1")
    return version


_TAKES = {
    Action.LOAD: ("version", 'nothing, or `{"version": 3}`'),
    Action.ROLLBACK: ("from", '`{"from": 3}`, the version that shall lose the traffic'),
    Action.UNLOAD: ("version", '`{"version": 3}`'),
}
"""Action → the key of the body that names a version, and what the body may be."""


def _limit(query: bytes) -> int:
    """How many entries a query asks for. Raises InvalidInput."""
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    limit = given.pop("limit", "100")
    if given:
        raise InvalidInput(f"a history does not take {', '.join(map(shown, given))}; it takes `limit`")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST_HISTORY):
        raise InvalidInput(f"limit is {shown(limit)}; it must be a whole number from 1 to {MOST_HISTORY}")
    return int(limit)
