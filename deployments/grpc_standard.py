"""The standard gRPC services of a gateway: health, and reflection. Serve calls the methods by the name of the RPC."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from google.protobuf.message import Message
from ray.serve.grpc_util import RayServegRPCContext

from configs.errors import InvalidInput, ModelError, NotFound
from deployments.answering import Answering
from deployments.grpc_edge import answers_errors, parsed, refuse
from deployments.protocols.grpc_pool import SERVICES, message
from deployments.protocols.grpc_routes import Servicer
from deployments.protocols.reflection import reflect
from deployments.protocols.request import shown

_Request = message("grpc.health.v1.HealthCheckRequest")
_Response: Any = message("grpc.health.v1.HealthCheckResponse")


class StandardCalls(Servicer):
    """`grpc.health.v1.Health` and `grpc.reflection.v1.ServerReflection`, also v1alpha."""

    answering: Answering

    @answers_errors
    async def Check(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Health: a gateway that answers serves, with all its graphs. Raises NotFound for what it does not have."""
        service = parsed(_Request, request).service
        if not await self._serves(service):
            known = ", ".join([*sorted(self.answering.services), *SERVICES])
            raise NotFound(f"unknown service {shown(service)}; this server has {known}")
        return _Response(status="SERVING")

    async def Watch(self, request: bytes, grpc_context: RayServegRPCContext) -> AsyncGenerator[Message, None]:
        """Health: the status, which stays as it is until the stream ends with the gateway or by the client."""
        try:
            service = parsed(_Request, request).service
        except InvalidInput as error:
            refuse(error, grpc_context)
            raise
        yield _Response(status="SERVING" if await self._serves(service) else "SERVICE_UNKNOWN")
        await asyncio.Event().wait()

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[bytes], grpc_context: RayServegRPCContext
    ) -> AsyncGenerator[Message, None]:
        """Reflection: an answer to each question of the stream."""
        async for request in requests:
            yield reflect(request)

    async def _serves(self, service: str) -> bool:
        if not service or service in SERVICES:
            return True
        try:
            await self.answering.service(service).check_model()
        except (NotFound, ModelError):
            return False
        return True
