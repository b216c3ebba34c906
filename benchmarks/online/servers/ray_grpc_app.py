"""The models as a Ray Serve application behind its gRPC proxy, written as Ray's documentation shows it."""

from typing import Any

from ray import serve

from benchmarks.online.servers.grpc_messages import infer
from benchmarks.online.servers.ray_app import OPTIONS


@serve.deployment(**OPTIONS)
class Inference:
    async def ModelInfer(self, request: Any) -> Any:  # noqa: N802
        return infer(request)


app = Inference.bind()
