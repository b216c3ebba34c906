"""Wait for the response of a handle, and cancel it on the other side too when nobody wants it any more."""

import asyncio
from typing import Any

import grpc
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentResponse

AWAY = (RayError, RayServeException, OSError, grpc.aio.AioRpcError)
"""What a call ends with when the replica dies, stops or cannot be reached."""


async def cancelling(response: "DeploymentResponse[Any]") -> Any:
    """What a response brings; who stops waiting for it cancels it."""
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise
