"""Wait for the response of a handle, and cancel it on the other side too when nobody wants it any more."""

import asyncio
from typing import Any

from ray.serve.handle import DeploymentResponse


async def cancelling(response: "DeploymentResponse[Any]") -> Any:
    """What a response brings; who stops waiting for it cancels it."""
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise
