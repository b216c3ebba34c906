"""A node that looks at gRPC from inside the gateway."""

import numpy as np


async def inside(x: np.ndarray) -> dict[str, np.ndarray]:
    """Seconds that the caller has left, as Serve tells them to the replica, and a message of a client's library.

    The library registers its messages under the names of ours, in this process.
    """
    from ray.serve.context import _get_serve_request_context
    from tritonclient.grpc import service_pb2

    context = _get_serve_request_context().grpc_context
    metadata = dict(context.invocation_metadata()) if context else {}
    left = float(metadata.get("x-request-timeout-seconds", "-1"))
    theirs = service_pb2.ModelInferRequest(model_name="theirs").model_name
    return {"left": np.full(len(x), left), "theirs": np.array([theirs.encode()] * len(x), object)}


inside.outputs = {"left": "FP64[-1]", "theirs": "BYTES[-1]"}  # type: ignore[attr-defined]
