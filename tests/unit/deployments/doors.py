"""A gateway's parts without Serve: graphs made of a function, and a recorder that remembers."""

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from configs.node_options import Batch
from configs.tensors import Rows, Signature, TensorSpec
from deployments.answering import Answering
from deployments.http_door import HttpDoor
from deployments.recorder import Recorder
from deployments.service import GraphService
from deployments.statistics import Statistics
from graphs.executor import Executor
from graphs.run import Trace
from graphs.terms import Terms

MAX_BYTES = 8 << 20
MAX_ROWS = 16


class Counted:
    """Stands for the recorder: (graph, protocol, code) of each request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.failed_s: list[float] = []
        self.statistics = Statistics(["g"])

    def answered(self, graph: str, protocol: str, seconds: float, nodes: Iterable[Any], rows: int) -> None:
        self.requests.append((graph, protocol, "OK"))

    def failed(self, graph: str, protocol: str, error: Exception, code: str, seconds: float) -> None:
        self.requests.append((graph, protocol, code))
        self.failed_s.append(seconds)


def gateway(
    run: Callable[[Rows], Rows] = lambda rows: rows, datatype: str = "FP32", name: str = "g"
) -> tuple[Answering, Counted]:
    """One graph with the input and output `x`, of any shape of two dimensions."""

    async def execute(rows: Rows, count: int, terms: Terms) -> tuple[Rows, Trace]:
        return run(rows), Trace()

    spec = {"x": TensorSpec.model_validate(f"{datatype}[-1, -1]")}
    plan = SimpleNamespace(graph=SimpleNamespace(config=SimpleNamespace(batch=Batch(max_rows=MAX_ROWS))), stream=None)
    executor = cast(Executor, SimpleNamespace(run=execute, plan=plan))
    service = GraphService(name, "", Signature(inputs=spec, outputs=spec), {}, executor)
    counted = Counted()
    return Answering({name: service}, cast(Recorder, counted)), counted


async def call(
    answering: Answering,
    path: str,
    *messages: dict[str, Any],
    method: str = "POST",
    headers: dict[str, str] | None = None,
    root: str = "",
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of one HTTP request; `messages` are what the server says, then it waits."""
    door = HttpDoor(answering, "millrace", "1", MAX_BYTES)
    waiting, sent = list(messages), []

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(key.encode(), value.encode()) for key, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path, "root_path": root, "headers": raw}
    await door(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def chunk(body: bytes, more: bool = False) -> dict[str, Any]:
    """A piece of a body, as a server says it."""
    return {"type": "http.request", "body": body, "more_body": more}


UNSENDABLE: dict[str, Callable[[Rows], Rows]] = {
    "no datatype": lambda rows: {"x": np.ones((1, 1), complex)},
    "objects": lambda rows: {"x": np.array([[7]], object)},
    "no UTF-8": lambda rows: {"x": np.array([["\ud800"]], object)},
}
"""Outputs of broken nodes that no door can write."""
