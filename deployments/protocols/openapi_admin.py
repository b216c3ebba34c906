"""The admin API's part of the OpenAPI document, with schemas made of what control answers."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, get_args, get_type_hints

from deployments.operations import Action, ServableStatus, TransitionStatus, VersionStatus
from deployments.protocols.openapi_schemas import Schema

SECURITY: Schema = {"adminToken": {"type": "http", "scheme": "bearer", "description": "The admin token."}}
_NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_TYPES: dict[Any, str] = {int: "integer", str: "string", bool: "boolean", float: "number", type(None): "null"}
_BODIES: dict[Action, Schema] = {
    Action.LOAD: {
        "type": "object",
        "properties": {"version": {**_NUMBER, "description": "Absent: the one that the policy says."}},
        "additionalProperties": False,
    },
    Action.ROLLBACK: {
        "type": "object",
        "properties": {"from": {**_NUMBER, "description": "What shall lose the traffic; if it has, nothing is done."}},
        "required": ["from"],
        "additionalProperties": False,
    },
    Action.UNLOAD: {
        "type": "object",
        "properties": {"version": _NUMBER},
        "required": ["version"],
        "additionalProperties": False,
    },
}
_SUMMARIES = {
    Action.LOAD: "Give the traffic to a version, or let the policy say to which",
    Action.ROLLBACK: "Give the traffic back to the version that had it before",
    Action.UNLOAD: "Take a version out: it loses the traffic to another one, and its memory is freed",
}


def admin_schemas() -> dict[str, Schema]:
    """The schemas by their names."""
    return {each.__name__: _schema(each) for each in (VersionStatus, ServableStatus, TransitionStatus)}


def admin_paths(servables: Collection[str], error: Schema, ref: Callable[[str], Schema]) -> dict[str, Any]:
    """The paths below `/admin`.

    Args:
        error: an answer that says what is wrong.
        ref: gives the reference to a schema by its name.
    """
    prefix = "/admin/servables"
    servable = {
        "name": "servable",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": sorted(servables)},
    }
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000}}

    def operation(summary: str, answer: Schema, **more: Any) -> Schema:
        good = {"description": "OK", "content": {"application/json": {"schema": answer}}}
        responses = {"200": good, "401": {**error, "description": "No token, or a wrong one"}, "default": error}
        return {"summary": summary, "tags": ["admin"], "security": [{"adminToken": []}], "responses": responses, **more}

    one = {"parameters": [servable]}
    every, told = _list("servables", ref("ServableStatus")), _list("history", ref("TransitionStatus"))
    history = operation("What happened to its versions, the last first", told, parameters=[limit])
    paths: dict[str, Any] = {
        prefix: {"get": operation("All servables and their versions", every)},
        f"{prefix}/{{servable}}": {**one, "get": operation("The versions of a servable", ref("ServableStatus"))},
        f"{prefix}/{{servable}}/history": {**one, "get": history},
    }
    for action, schema in _BODIES.items():
        body = {"required": action is not Action.LOAD, "content": {"application/json": {"schema": schema}}}
        post = operation(_SUMMARIES[action], ref("ServableStatus"), requestBody=body)
        paths[f"{prefix}/{{servable}}/{action}"] = {**one, "post": post}
    return paths


def _list(name: str, items: Schema) -> Schema:
    return {"type": "object", "properties": {name: {"type": "array", "items": items}}, "required": [name]}


def _schema(of: type) -> Schema:
    hints = get_type_hints(of)
    properties = {field.name: _property(hints[field.name]) for field in dataclasses.fields(of)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _property(hint: Any) -> Schema:
    kinds = get_args(hint) or (hint,)
    if all(kind in _TYPES for kind in kinds):
        names = [_TYPES[kind] for kind in kinds]
        return {"type": names[0] if len(names) == 1 else names}
    return {"type": "array", "items": {"$ref": f"#/components/schemas/millrace.{kinds[0].__name__}"}}
