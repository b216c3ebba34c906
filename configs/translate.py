"""Turns pydantic's errors into `Problem`s: the key's path and line in the file, plain words, a remedy."""

import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from configs.documents import Document
from configs.graph import GRAPH_NAME, NODE_NAME, Reference, node_class
from configs.node_options import Callable_
from configs.problems import MISSING, Problem, nearest, shown


def translate(
    error: ValidationError, model: type[BaseModel], document: Document, prefix: Sequence[str | int] = ()
) -> list[Problem]:
    """One problem for each place that pydantic complains about.

    `model` is the class that was validated, from the data at `prefix` in the document.
    """
    data: Any = document.data
    for part in prefix:
        data = _child(data, part)[1] if isinstance(data, Mapping | list) else None
    places: dict[tuple, tuple[_Place, list[ErrorDetails]]] = {}
    for details in error.errors(include_url=False):
        place = _walk(model, data, details["loc"])
        # Complaints about one place are the branches of a union: they become one sentence.
        places.setdefault((place.path, place.is_key), (place, []))[1].append(details)
    return [_problem(document, prefix, place, found) for place, found in places.values()]


@dataclass(frozen=True)
class _Place:
    path: tuple[str | int, ...]
    kinds: tuple[Any, ...]
    """The types allowed here, without Annotated and None."""
    description: str
    is_key: bool
    siblings: tuple[str, ...]
    """The keys that are known where the last key stands."""


def _walk(model: type[BaseModel], data: Any, loc: Sequence[str | int]) -> _Place:
    path: list[str | int] = []
    kinds: tuple[Any, ...] = (model,)
    siblings: tuple[str, ...] = ()
    description, is_key = "", False
    for part in loc:
        if part == "[key]":
            is_key = True
            break
        kind = _chosen(kinds, data)
        siblings = tuple(known_fields(kind)) if _is_model(kind) else ()
        inner = _inner(kind, part)
        if inner is None:  # not a key but the name of a union's branch
            break
        kinds, described = inner
        description = described or (description if isinstance(part, int) else "")  # an item means what its list does
        if isinstance(data, Mapping | list):
            key, data = _child(data, part)
            path.append(key)
        elif data is None:  # absent, whereas a shorthand such as `replicas: 2` has no keys inside
            path.append(part)
    return _Place(tuple(path), kinds, description, is_key, siblings)


def _child(data: Any, part: str | int) -> tuple[str | int, Any]:
    if isinstance(data, list):
        return part, data[part] if isinstance(part, int) and part < len(data) else None
    for key, value in data.items():
        if key == part or str(key) == part:  # pydantic writes the key `true` as 1
            return _part_of(key), value
    return part, None


def _part_of(key: Any) -> str:
    return shown(key) if not isinstance(key, str) else key


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inner(kind: Any, part: str | int) -> tuple[tuple[Any, ...], str] | None:
    """Types and description of the value `part` inside a value of `kind`; None if there cannot be one."""
    if _is_model(kind):
        field = known_fields(kind).get(str(part))
        if field is None:
            return (), ""
        kinds, inner = _plain(field.annotation)
        return kinds, field.description or inner
    arguments = get_args(kind)
    origin = get_origin(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _plain(arguments[1])
    if origin in (list, tuple):
        return _plain(arguments[0])
    return None


def _plain(kind: Any) -> tuple[tuple[Any, ...], str]:
    """The members of `kind` without None and Annotated, and the description that an annotation carries."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        described = [item.description for item in metadata if isinstance(item, FieldInfo) and item.description]
        kinds, description = _plain(inner)
        return kinds, next(iter(described), description)
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(plain for member in get_args(kind) for plain in _plain(member)[0]), ""
    return () if kind is type(None) else (kind,), ""


def _chosen(kinds: tuple[Any, ...], data: Any) -> Any:
    """The member of a union that `data` is meant to be. Node is the only union of classes in our schemas."""
    if len(kinds) == 1:
        return kinds[0]
    return node_class(data) if isinstance(data, Mapping) and all(map(_is_model, kinds)) else None


def members(kind: Any) -> tuple[Any, ...]:
    """The types that an annotation allows, without None and Annotated."""
    return _plain(kind)[0]


def known_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields of a model by the key a user writes."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _problem(document: Document, prefix: Sequence[str | int], place: _Place, found: list[ErrorDetails]) -> Problem:
    first = found[0]
    value = MISSING if first["type"] in ("missing", "extra_forbidden") else first["input"]
    message, remedy = _words(place, found)
    return document.problem((*prefix, *place.path), message, value, remedy)


def _words(place: _Place, found: list[ErrorDetails]) -> tuple[str, str]:
    """Message and remedy."""
    first = found[0]
    if first["type"] == "missing":
        return "is missing", f"add it: {place.description.removesuffix('.')}" if place.description else "add it"
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"unknown key `{key}`", suggestion(key, place.siblings)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"]), _branch_hint(place, first["input"]) or _meaning(place)
    expected = list(dict.fromkeys(map(_expected, found)))
    what = "the key must be " if place.is_key else "must be "
    said = place.is_key or first["type"] == "string_pattern_mismatch"  # the words of a pattern say what is expected
    return what + " or ".join(expected), _hint(found) or ("" if said else _meaning(place))


def _meaning(place: _Place) -> str:
    return f"expected: {place.description.removesuffix('.')}" if place.description else ""


def _hint(found: list[ErrorDetails]) -> str:
    value = found[0]["input"]
    if value is None:
        return "write a value or remove the key"
    if found[0]["type"] == "string_type" and isinstance(value, bool):
        return "put it in quotes: YAML reads on, off, yes and no as true and false"
    if found[0]["type"] == "string_type" and not isinstance(value, Mapping | list):
        return "put it in quotes"
    choices = [word.strip("'") for one in found for word in _choices(one)]
    near = nearest(value, choices) if isinstance(value, str) else None
    return f"did you mean `{near}`?" if near else ""


def _choices(details: ErrorDetails) -> list[str]:
    if details["type"] not in ("literal_error", "enum"):
        return []
    return str(details["ctx"]["expected"]).replace(" or ", ", ").split(", ")


def _branch_hint(place: _Place, value: Any) -> str:
    """For a mapping that fits none of several classes: the key that was probably meant to decide."""
    if len(place.kinds) < 2 or not isinstance(value, Mapping):
        return ""
    known = sorted({key for kind in place.kinds for key in known_fields(kind)})
    return "; ".join(suggestion(key, known) for key in value if isinstance(key, str) and key not in known)


def suggestion(key: str, known: Iterable[str]) -> str:
    """The remedy for an unknown key."""
    known = list(known)
    near = nearest(key, known)
    return f"did you mean `{near}`?" if near else f"known keys: {', '.join(known)}"


def _pattern(annotated: Any) -> str:
    return next(
        str(item.pattern) for info in get_args(annotated)[1:] for item in info.metadata if hasattr(item, "pattern")
    )


HTTP_URL = "^https?://."
"""Pattern of a URL that one can post to."""
HEADER_NAME = "^[A-Za-z0-9_.-]+$"
"""Pattern of a header's name that gRPC's metadata may have too."""

_PATTERNS = {
    HTTP_URL: "a URL that begins with http:// or https://",
    HEADER_NAME: "a header's name: letters, digits, - _ and .",
    NODE_NAME: "a name of letters, digits and _ that does not start with a digit",
    GRAPH_NAME: "a name of letters, digits, _ and - that starts with a letter",
    _pattern(Reference): "a graph input (`image`) or a node's output (`scale.x`)",
    _pattern(Callable_): "an import path `package.module:name`",
}

_EXPECTED = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "text of at least {min_length} character(s)",
    "too_short": "longer: it has {actual_length} of at least {min_length} entries",
}


def _expected(details: ErrorDetails) -> str:
    """What should be there, as words that continue "must be"."""
    kind = details["type"]
    context = {
        key: f"{value:g}" if isinstance(value, float) else value for key, value in details.get("ctx", {}).items()
    }
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    if kind in ("literal_error", "enum"):
        choices = [f"`{choice.strip(chr(39))}`" for choice in _choices(details)]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    words = _EXPECTED.get(kind) or _EXPECTED.get(kind.split("_")[0])
    return words.format(**context) if words else f"valid ({details['msg']})"
