"""A gRPC door behind a real gRPC server in this process, which treats its methods as a replica of Serve does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from ray.serve.grpc_util import RayServegRPCContext

from deployments.admin import Admin
from deployments.answering import Answering
from deployments.grpc_door import GrpcDoor
from deployments.protocols import grpc_pool
from deployments.protocols.v2_proto import add_servicer

SERVER = ("millrace", "1")


def door(answering: Answering, limit: int = 1 << 20, admin: Admin | None = None) -> GrpcDoor:
    made = GrpcDoor()
    made.answering, made.server, made._max_request_bytes = answering, SERVER, limit
    made._admin = admin or Admin(None, [])  # type: ignore[arg-type]  # which nobody then asks
    return made


class _Servicer:
    """Each call with Serve's context; what the door set on it goes to gRPC's own."""

    def __init__(self, door: GrpcDoor) -> None:
        for service in grpc_pool.SERVICES:
            for method in grpc_pool.service(service).methods_by_name.values():
                wrap = _stream if method.server_streaming else _unary
                setattr(self, method.name, wrap(getattr(door, method.name)))


def _unary(method: Any) -> Any:
    async def call(request: bytes, context: Any) -> Any:
        serve = RayServegRPCContext(context)
        answer = await method(request, serve)
        serve._set_on_grpc_context(context)
        return answer

    return call


def _stream(method: Any) -> Any:
    async def call(request: Any, context: Any) -> AsyncIterator[Any]:
        serve = RayServegRPCContext(context)
        try:
            async for answer in method(request, serve):
                yield answer
        finally:
            serve._set_on_grpc_context(context)

    return call


@asynccontextmanager
async def serving(
    answering: Answering, limit: int = 1 << 20, admin: Admin | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server of this door."""
    server = grpc.aio.server()
    add_servicer(_Servicer(door(answering, limit, admin)), server)
    async with channel_to(server) as channel:
        yield channel


@asynccontextmanager
async def channel_to(server: Any) -> AsyncIterator[grpc.aio.Channel]:
    """Start a server, which stops when the block ends."""
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)
