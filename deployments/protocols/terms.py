"""A request's deadline and priority, from its parameters and headers."""

import math
import time
from collections.abc import Mapping

from configs.errors import InvalidInput
from deployments.protocols.request import Parameter, shown
from graphs.terms import DEFAULT_PRIORITY, UNHURRIED, Terms

TIMEOUT_HEADER = "x-request-timeout-seconds"
"""HTTP header: seconds that the caller waits; fractions are allowed."""
LEAST_URGENT = 100
"""Largest priority."""


def terms_of(parameters: Mapping[str, Parameter], timeout_s: float | None = None) -> Terms:
    """When a request must be answered, and before whom.

    Args:
        parameters: of the request; `timeout` in microseconds and `priority` (1 comes first, 0 is the default) are
            read, as in Triton's scheduling extension.
        timeout_s: what the transport says: the header `x-request-timeout-seconds` or gRPC's deadline. The earlier
            of the two holds.

    Raises:
        InvalidInput: a value is not a number of its range.
    """
    if timeout_s is None and "timeout" not in parameters and "priority" not in parameters:
        return UNHURRIED
    microseconds, priority = _whole(parameters, "timeout"), _whole(parameters, "priority")
    seconds = min(microseconds / 1e6 or math.inf, math.inf if timeout_s is None else timeout_s)
    return Terms(time.monotonic() + seconds, min(priority, LEAST_URGENT) or DEFAULT_PRIORITY)


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
