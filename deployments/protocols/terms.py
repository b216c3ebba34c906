"""A request's deadline, priority and sequence, from its parameters and headers."""

import math
import time
from collections.abc import Mapping

from configs.errors import InvalidInput
from deployments.protocols.request import Parameter, flag, shown
from graphs.sequences import Sequence
from graphs.terms import DEFAULT_PRIORITY, UNHURRIED, Terms

TIMEOUT_HEADER = "x-request-timeout-seconds"
"""HTTP header: seconds that the caller waits; fractions are allowed."""
LEAST_URGENT = 100
"""Largest priority."""

LONGEST_ID = 128
"""Characters of a sequence's id, as in Triton: ids are kept as long as their sequences are open."""

_READ = frozenset(("timeout", "priority", "sequence_id"))
"""Parameters that make terms; a request with none of them, as most are, costs no more than this look."""


def terms_of(parameters: Mapping[str, Parameter], timeout_s: float | None = None, since: float | None = None) -> Terms:
    """When a request must be answered, before whom, and as part of which sequence.

    Args:
        parameters: of the request; `timeout` in microseconds and `priority` (1 comes first, 0 is the default) are
            read, as in Triton's scheduling extension; `sequence_id`, `sequence_start` and `sequence_end` as in its
            sequence extension (an id of 0 or "" is none).
        timeout_s: what the transport says: the header `x-request-timeout-seconds` or gRPC's deadline. The earlier
            of the two holds.
        since: when these times began, on `time.monotonic()`; None: now.

    Raises:
        InvalidInput: a value is not a number of its range.
    """
    if timeout_s is None and _READ.isdisjoint(parameters):
        return UNHURRIED
    microseconds, priority = _whole(parameters, "timeout"), _whole(parameters, "priority")
    seconds = min(microseconds / 1e6 or math.inf, math.inf if timeout_s is None else timeout_s)
    deadline = (time.monotonic() if since is None else since) + seconds
    return Terms(deadline, min(priority, LEAST_URGENT) or DEFAULT_PRIORITY, _sequence(parameters))


def timeout_header(value: str) -> float:
    """Seconds in `x-request-timeout-seconds`. Raises InvalidInput for what is not a positive number."""
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InvalidInput(f"{TIMEOUT_HEADER} is {shown(value)}, expected a positive number of seconds")
    return seconds


def _whole(parameters: Mapping[str, Parameter], name: str) -> int:
    value = parameters.get(name, 0)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)  # tritonclient sends a timeout as text over HTTP in some versions
    if type(value) is not int or value < 0:
        raise InvalidInput(f"parameter `{name}` is {shown(value)}, expected a whole number from 0 up")
    return value


def _sequence(parameters: Mapping[str, Parameter]) -> Sequence | None:
    identifier = parameters.get("sequence_id", 0)
    if isinstance(identifier, bool) or not isinstance(identifier, int | str):
        raise InvalidInput(f"parameter `sequence_id` is {shown(identifier)}, expected a whole number or a text")
    if not identifier:
        return None
    if isinstance(identifier, str) and len(identifier) > LONGEST_ID:
        raise InvalidInput(f"parameter `sequence_id` has {len(identifier)} characters; send at most {LONGEST_ID}")
    return Sequence(identifier, flag(parameters, "sequence_start"), flag(parameters, "sequence_end"))
