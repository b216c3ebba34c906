"""The one error tree: each error has its HTTP status and its gRPC code, and survives pickling."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class MillraceError(Exception):
    """Base of every error that Millrace raises on purpose. One positional argument: the message."""

    http_status: ClassVar[int] = 500
    grpc_code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The text for the caller: it names the value, the limit and the remedy."""
        return str(self.args[0])


class ConfigError(MillraceError):
    """What a user wrote in a configuration cannot work. The message lists every problem found."""


class MissingExtra(MillraceError):
    """A library of an optional extra is not installed. The message names the extra."""


class ModelError(MillraceError):
    """A model folder is missing, incomplete, unsafe or does not load."""


class NoSuchModel(ModelError):
    """A source has no model of this name."""


class NotAnswered(ModelError):
    """A source of models has not answered yet; it is waited for."""


class RequestError(MillraceError):
    """The caller's fault."""

    http_status = 400
    grpc_code = "INVALID_ARGUMENT"


class InvalidInput(RequestError):
    """A request, or one row of it, is malformed or does not fit the graph's inputs.

    A node may raise it too: then the request is refused with 400 instead of failing with 500.
    """


class TooLarge(RequestError):
    """A request is larger than the gateway accepts."""

    http_status = 413
    grpc_code = "RESOURCE_EXHAUSTED"


class UnsupportedMediaType(RequestError):
    """The body's content type or encoding is not one that the route reads."""

    http_status = 415


class MethodNotAllowed(RequestError):
    """The path exists, the HTTP method does not."""

    http_status = 405
    grpc_code = "UNIMPLEMENTED"


class NotFound(RequestError):
    """Unknown model, version or path."""

    http_status = 404
    grpc_code = "NOT_FOUND"


class Unauthorized(RequestError):
    """The caller may not do this: it has no token, or a wrong one."""

    http_status = 401
    grpc_code = "UNAUTHENTICATED"


class Refused(RequestError):
    """The request is in order, but does not go with how things are now."""

    http_status = 409
    grpc_code = "FAILED_PRECONDITION"


class Unsupported(MillraceError):
    """A part of a protocol that this server does not implement."""

    http_status = 501
    grpc_code = "UNIMPLEMENTED"


class NodeError(MillraceError):
    """A node of the graph failed. The message names the node and its reason, never a stack trace."""


class NodeTimeout(NodeError):
    """A node took longer than the timeout that its graph gives it."""

    http_status = 504
    grpc_code = "DEADLINE_EXCEEDED"


class NodeDied(NodeError):
    """The process of a node ended while it had the rows, which may be why: they are not sent to another one again."""


class Unavailable(MillraceError):
    """Not ready or draining; the same request may succeed later."""

    http_status = 503
    grpc_code = "UNAVAILABLE"


class Overloaded(MillraceError):
    """More work waits than can be done in time; the same request may succeed later.

    Args:
        retry_after_s: seconds until the queue should have room, from its length and the rate of service.
    """

    http_status = 503
    grpc_code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["Overloaded"], tuple[str, float]]:
        return type(self), (self.message, self.retry_after_s)


class TooManyRequests(Overloaded):
    """The caller itself has more requests in flight than one client may have; others are served."""

    http_status = 429


class DeadlineExceeded(MillraceError):
    """The time that the caller gave has passed; what had not begun was dropped."""

    http_status = 504
    grpc_code = "DEADLINE_EXCEEDED"


class RowErrors(InvalidInput):
    """For nodes to raise: some rows are bad, the others are not.

    Only the requests that the bad rows belong to fail; the call is made again without them.

    Args:
        reasons: index of a row in the call → why it is bad.
    """

    def __init__(self, reasons: Mapping[int, str]) -> None:
        first = min(reasons, default=0)
        super().__init__(f"row {first}: {reasons.get(first, 'no reason given')}")
        self.reasons = dict(reasons)

    def at(self, rows: Sequence[int]) -> "RowErrors":
        """The same reasons where the call's rows were only some of others: `rows` holds the index of each."""
        return RowErrors({int(rows[row]): why for row, why in self.reasons.items()})

    def __reduce__(self) -> tuple[type["RowErrors"], tuple[dict[int, str]]]:
        return type(self), (self.reasons,)


def reason(messages: Iterable[str]) -> str:
    """The last of Ray's messages that says anything, without colours and the stack trace above its last error."""
    said = [text for message in messages if (text := _COLOURS.sub("", message).rstrip())] or ["Ray gives no reason"]
    lines = said[-1].splitlines()
    above = max((number for number, line in enumerate(lines, 1) if line.startswith("  ")), default=0)
    return "\n".join(lines[above:] or lines)
