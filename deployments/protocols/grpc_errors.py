"""What goes beside the code of a gRPC error: when to try again, for machines (RetryInfo) and for people."""

import math
from typing import Any

import grpc

from configs.errors import MillraceError, Overloaded
from deployments.protocols.grpc_pool import message

DETAILS = "grpc-status-details-bin"
"""Metadata of gRPC's rich error model: a serialised `google.rpc.Status`."""
RETRY_AFTER = "retry-after"
"""Metadata with whole seconds, as HTTP's header."""

_LONGEST = 500
"""Characters of the message in the details, which are sent beside the message itself in 8 KiB of metadata."""
_Status = message("google.rpc.Status")
_RetryInfo = message("google.rpc.RetryInfo")


def trailing_metadata(error: MillraceError) -> list[tuple[str, Any]]:
    """Metadata for the end of a call that failed; empty unless the error says when to try again."""
    if not isinstance(error, Overloaded):
        return []
    details = _Status(code=grpc.StatusCode[error.grpc_code].value[0], message=error.message[:_LONGEST])
    retry, delay = _RetryInfo(), max(error.retry_after_s, 0.0)
    retry.retry_delay.seconds, retry.retry_delay.nanos = int(delay), int(delay % 1 * 1e9)
    details.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=retry.SerializeToString())
    return [(RETRY_AFTER, str(max(math.ceil(delay), 1))), (DETAILS, details.SerializeToString())]
