"""Python handles: arrays in, arrays out, from any process of the cluster."""

from typing import Any

import numpy as np
from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.errors import InvalidInput, MillraceError
from configs.tensors import Datatype, Rows, Signature


class GraphClient:
    """Calls one graph by handle. Make it with `connect`."""

    def __init__(self, graph: str, handle: DeploymentHandle) -> None:
        self.graph = graph
        self._handle = handle
        self._signature: Signature | None = None

    def signature(self) -> Signature:
        """Inputs and outputs of the graph. Blocks; raises NotFound for an unknown graph."""
        if self._signature is None:
            self._signature = _raised(self._handle.describe.remote(self.graph).result())
        return self._signature

    def predict(self, **inputs: Any) -> Rows:
        """Outputs for named inputs: arrays, or lists that become arrays of the inputs' datatypes. Blocks.

        Raises:
            InvalidInput: the inputs do not fit the graph.
            NodeError, Unavailable: the graph could not answer.
        """
        rows: Rows = _raised(self._handle.infer.remote(self.graph, _arrays(inputs, self.signature())).result())
        return rows

    async def predict_async(self, **inputs: Any) -> Rows:
        """As `predict`, for coroutines."""
        rows: Rows = _raised(await self._handle.infer.remote(self.graph, _arrays(inputs, await self._known())))
        return rows

    async def _known(self) -> Signature:
        if self._signature is None:
            self._signature = _raised(await self._handle.describe.remote(self.graph))
        return self._signature


def connect(graph: str, app: str = "millrace") -> GraphClient:
    """A client of a graph that runs in the connected Ray cluster.

    Args:
        graph: the graph's name.
        app: name of the Serve application, as in `serve_config.yaml`.

    Raises:
        ray.serve.exceptions.RayServeException: no such application runs.
    """
    handle = serve.get_app_handle(app)
    if not handle.is_initialized:  # Serve gives out the same handle again
        # With throughput settings in the environment a handle wants a running loop; `predict` has none.
        handle._init(_run_router_in_separate_loop=True)
    options = {"_by_reference": False, "request_serialization": "pickle", "response_serialization": "pickle"}
    return GraphClient(graph, handle.options(**options))


def _arrays(inputs: dict[str, Any], signature: Signature) -> Rows:
    specs = signature.inputs or {}
    rows: Rows = {}
    for name, value in inputs.items():
        if isinstance(value, np.ndarray) or name not in specs:
            rows[name] = np.asarray(value)
            continue
        datatype: Datatype = specs[name].datatype
        try:
            rows[name] = np.asarray(value, datatype.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidInput(f"input {name}: not {datatype} values: {error}") from None
    return rows


def _raised(answer: Any) -> Any:
    if isinstance(answer, MillraceError):
        raise answer
    return answer
