"""Python handles: arrays in, arrays out, from any process of the cluster."""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import grpc
import ray
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from configs.errors import DeadlineExceeded, MillraceError, NotFound, TooLarge, Unavailable
from configs.tensors import Rows, Signature
from deployments.protocols.handle import arrays
from deployments.responses import AWAY, cancelling
from deployments.spans import carried_out
from graphs.terms import DEFAULT_PRIORITY

_AWAY = (*AWAY, Unavailable)
"""Graphs are idempotent: another replica is asked."""
_DELAYS_S = (0.1, 0.5, 0.0)
"""Pause after each try."""
_RESOLUTION_S = 1e-3
"""A deadline that is so near has passed: timers may be early."""

_Ask = Callable[[float], "DeploymentResponse[Any]"]
"""Sends a request, told the seconds that are left for it."""


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
            timeout_s: seconds within which each answer is wanted, further tries included; later the work is dropped.
            priority: 1 comes first, 10 is the default, larger numbers are less urgent.
        """
        return GraphClient(self.graph, self._handle, timeout_s, priority)

    def signature(self) -> Signature:
        """Inputs and outputs of the graph. Blocks; raises NotFound for an unknown graph."""
        return self._signature_by(math.inf)

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
        deadline = time.monotonic() + self._timeout_s
        rows: Rows = self._call(self._infer(arrays(inputs, self._signature_by(deadline))), deadline)
        return rows

    async def predict_async(self, **inputs: Any) -> Rows:
        """As `predict`, for coroutines. Cancelled, it cancels the work too."""
        deadline = time.monotonic() + self._timeout_s
        if self._signature is None:
            self._signature = await self._call_async(self._describe, deadline)
        rows: Rows = await self._call_async(self._infer(arrays(inputs, self._signature)), deadline)
        return rows

    def _signature_by(self, deadline: float) -> Signature:
        if self._signature is None:
            self._signature = self._call(self._describe, deadline)
        return self._signature

    def _describe(self, left_s: float) -> "DeploymentResponse[Any]":
        return self._handle.describe.remote(self.graph)

    def _infer(self, rows: Rows) -> _Ask:
        return lambda left_s: self._handle.infer.remote(self.graph, rows, left_s, self._priority, carried_out())

    def _call(self, ask: _Ask, deadline: float) -> Any:
        for delay_s in _DELAYS_S:
            left_s = self._left_s(deadline)
            try:
                return _raised(_in_time(ask(left_s), left_s))
            except _AWAY as error:
                last = self._may_pass(error, deadline)
                time.sleep(delay_s)
        raise self._unavailable(last) from last

    async def _call_async(self, ask: _Ask, deadline: float) -> Any:
        for delay_s in _DELAYS_S:
            left_s = self._left_s(deadline)
            try:
                async with asyncio.timeout(None if left_s == math.inf else left_s):
                    return _raised(await cancelling(ask(left_s)))
            except _AWAY as error:
                last = self._may_pass(error, deadline)
                await asyncio.sleep(delay_s)
        raise self._unavailable(last) from last

    def _left_s(self, deadline: float) -> float:
        """Seconds until the deadline, which holds for all tries. Raises DeadlineExceeded."""
        left_s = deadline - time.monotonic()
        if left_s < _RESOLUTION_S:
            raise DeadlineExceeded(
                f"graph {self.graph}: no answer within the client's timeout_s of {self._timeout_s:g}"
            )
        return left_s

    def _may_pass(self, error: Exception, deadline: float) -> Exception:
        self._left_s(deadline)
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
        graph: the graph's name; `<graph>.<model>` for one of its many models, whose name is no input then.
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


def _in_time(response: "DeploymentResponse[Any]", left_s: float) -> Any:
    """What a response brings; one that does not come in time is cancelled."""
    try:
        return response.result(timeout_s=None if left_s == math.inf else left_s)
    except TimeoutError:
        response.cancel()
        raise


def _raised(answer: Any) -> Any:
    if isinstance(answer, MillraceError):
        raise answer
    return answer
