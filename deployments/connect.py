"""Python handles: arrays in, arrays out, from any process of the cluster."""

import asyncio
import math
import time
from typing import Any

import grpc
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from configs.errors import MillraceError, NotFound, TooLarge, Unavailable
from configs.tensors import Rows, Signature
from deployments.protocols.handle import arrays
from deployments.spans import Carried, carried_out
from graphs.terms import DEFAULT_PRIORITY

_AWAY = (RayError, RayServeException, OSError, grpc.aio.AioRpcError, Unavailable)
"""What a call ends with when the replica dies, stops or cannot be reached. Graphs are idempotent: another is asked."""
_DELAYS_S = (0.1, 0.5, 0.0)
"""Pause after each try."""


class GraphClient:
    """Calls one graph by handle. Make it with `connect`."""

    def __init__(
        self, graph: str, handle: DeploymentHandle, timeout_s: float = math.inf, priority: int = DEFAULT_PRIORITY
    ) -> None:
        self.graph = graph
        self._handle = handle
        self._timeout_s, self._priority = timeout_s, priority
        self._signature: Signature | None = None

    def urgent(self, timeout_s: float = math.inf, priority: int = DEFAULT_PRIORITY) -> "GraphClient":
        """This client on other terms.

        Args:
            timeout_s: seconds within which each answer is wanted; later the work is dropped.
            priority: 1 comes first, 10 is the default, larger numbers are less urgent.
        """
        return GraphClient(self.graph, self._handle, timeout_s, priority)

    def signature(self) -> Signature:
        """Inputs and outputs of the graph. Blocks; raises NotFound for an unknown graph."""
        if self._signature is None:
            self._signature = self._call("describe", self.graph)
        return self._signature

    def predict(self, **inputs: Any) -> Rows:
        """Outputs for named inputs: arrays, or lists that become arrays of the inputs' datatypes. Blocks.

        Raises:
            InvalidInput: the inputs do not fit the graph.
            TooLarge: inputs or outputs do not fit into one of Ray's messages.
            NodeError: the graph could not answer.
            Overloaded: not in time; `retry_after_s` says when to try again.
            DeadlineExceeded: not within the client's `timeout_s`.
            Unavailable: no gateway did, in several tries.
        """
        rows: Rows = self._call("infer", self.graph, arrays(inputs, self.signature()), *self._terms)
        return rows

    async def predict_async(self, **inputs: Any) -> Rows:
        """As `predict`, for coroutines. Cancelled, it cancels the work too."""
        if self._signature is None:
            self._signature = await self._call_async("describe", self.graph)
        rows: Rows = await self._call_async("infer", self.graph, arrays(inputs, self._signature), *self._terms)
        return rows

    @property
    def _terms(self) -> tuple[float, int, Carried | None]:
        return self._timeout_s, self._priority, carried_out()

    def _call(self, method: str, *args: Any) -> Any:
        for delay_s in _DELAYS_S:
            try:
                return _raised(getattr(self._handle, method).remote(*args).result())
            except _AWAY as error:
                last = self._may_pass(error)
                time.sleep(delay_s)
        raise self._unavailable(last) from last

    async def _call_async(self, method: str, *args: Any) -> Any:
        for delay_s in _DELAYS_S:
            try:
                return _raised(await _cancelling(getattr(self._handle, method).remote(*args)))
            except _AWAY as error:
                last = self._may_pass(error)
                await asyncio.sleep(delay_s)
        raise self._unavailable(last) from last

    def _may_pass(self, error: Exception) -> Exception:
        if isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise TooLarge(
                f"graph {self.graph}: the inputs or outputs do not fit into one message ({error.details()}); send "
                f"fewer rows, or raise RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH where Ray is started"
            ) from None
        return error

    def _unavailable(self, last: Exception) -> Unavailable:
        tries = f"{len(_DELAYS_S)} tries ({type(last).__name__})"
        return Unavailable(f"graph {self.graph}: no gateway answered in {tries}; try again later")


def connect(graph: str, app: str = "millrace") -> GraphClient:
    """A client of a graph that runs in the connected Ray cluster.

    Args:
        graph: the graph's name.
        app: name of the Serve application, as in `serve_config.yaml`.

    Raises:
        NotFound: no such application runs in the cluster that this process has joined; the message lists those that do.
    """
    try:
        handle = serve.get_app_handle(app)
    except RayServeException as error:
        cluster = ray.get_runtime_context().gcs_address
        running = ", ".join(sorted(serve.status().applications)) or "none"
        raise NotFound(f"no application {app!r} in the Ray cluster at {cluster}; it has: {running}") from error
    if not handle.is_initialized:  # Serve gives out the same handle again
        # With throughput settings in the environment a handle wants a running loop; `predict` has none.
        handle._init(_run_router_in_separate_loop=True)
    options = {"_by_reference": False, "request_serialization": "pickle", "response_serialization": "pickle"}
    return GraphClient(graph, handle.options(**options))


async def _cancelling(response: "DeploymentResponse[Any]") -> Any:
    """What a response brings; who stops waiting for it cancels it."""
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise


def _raised(answer: Any) -> Any:
    if isinstance(answer, MillraceError):
        raise answer
    return answer
