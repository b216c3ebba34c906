"""Handles from both ends: what a client sends, what the gateway makes of it, and replicas that die on the way."""

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Any, ClassVar, cast

import grpc
import numpy as np
import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from configs.errors import DeadlineExceeded, InvalidInput, MillraceError, NotFound, TooLarge, Unavailable
from configs.tensors import Rows
from deployments import connect
from deployments.connect import GraphClient
from deployments.gateway import Gateway
from tests.unit.deployments.doors import UNSENDABLE, Counted, gateway


class Reply:
    """Stands for Serve's response: waited for, or awaited."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def result(self, timeout_s: float | None = None) -> Any:
        if isinstance(self._outcome, Exception) and not isinstance(self._outcome, MillraceError):
            raise self._outcome
        return self._outcome

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self.result()


class Never(Reply):
    """A response that does not come: no gateway runs."""

    cancelled: ClassVar = 0

    def __init__(self) -> None: ...

    def result(self, timeout_s: float | None = None) -> Any:
        assert timeout_s is not None
        time.sleep(timeout_s)
        raise TimeoutError

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.sleep(60).__await__()

    def cancel(self) -> None:
        Never.cancelled += 1


class Method:
    def __init__(self, call: Callable[..., Any]) -> None:
        def remote(*args: Any) -> Reply:
            outcome = call(*args)
            return outcome if isinstance(outcome, Reply) else Reply(outcome)

        self.remote = remote


def client_of(*outcomes: Any) -> GraphClient:
    """A client whose gateway ends each call with the next of `outcomes`."""
    waiting = list(outcomes)
    signature = gateway()[0].service("g").signature

    class Handle:
        describe = Method(lambda graph: signature)
        infer = Method(lambda graph, rows, left_s, priority, carried: waiting.pop(0))

    return GraphClient("g", cast(DeploymentHandle, Handle()))


def served(**options: Any) -> tuple[Gateway, Counted]:
    """A gateway without its start."""
    answering, counted = gateway(**options)
    made = object.__new__(type("Started", (Gateway,), {"__del__": lambda self: None}))
    made.answering = answering
    return cast(Gateway, made), counted


def rpc_error(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, nothing, nothing, "details")


GONE = (ActorDiedError(), RayServeException("no replica"), rpc_error(grpc.StatusCode.UNAVAILABLE), Unavailable("stops"))
ANSWER = {"x": np.ones((1, 1), np.float32)}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_DELAYS_S", (0, 0, 0))


async def test_what_a_dying_gateway_held_is_asked_of_another() -> None:
    for error in GONE:
        assert client_of(error, error, ANSWER).predict(x=[[1]]) is ANSWER
        assert await client_of(error, error, ANSWER).predict_async(x=[[1]]) is ANSWER


async def test_rays_errors_come_as_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"graph g: no gateway answered in 3 tries \(RayServeException\)"):
        client_of(*GONE[:1], *GONE[:2]).predict(x=[[1]])
    with pytest.raises(Unavailable):
        await client_of(*GONE[:1], *GONE[:2]).predict_async(x=[[1]])


def test_a_message_too_large_is_not_tried_again() -> None:
    with pytest.raises(TooLarge, match=r"graph g: .* do not fit into one message \(details\)"):
        client_of(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED), ANSWER).predict(x=[[1]])


def test_errors_of_the_graph_are_not_tried_again() -> None:
    with pytest.raises(InvalidInput, match="bad row"):
        client_of(InvalidInput("bad row"), ANSWER).predict(x=[[1]])


async def test_a_deadline_holds_for_all_tries_together_and_without_a_gateway() -> None:
    cancelled = Never.cancelled
    with pytest.raises(DeadlineExceeded, match=r"within the client's timeout_s of 0\.05"):
        client_of(GONE[0], Never()).urgent(timeout_s=0.05).predict(x=[[1]])
    with pytest.raises(DeadlineExceeded):
        await client_of(GONE[0], Never()).urgent(timeout_s=0.05).predict_async(x=[[1]])
    assert Never.cancelled == cancelled + 2


async def test_nodes_see_bytes_whatever_text_comes() -> None:
    seen: list[Rows] = []
    door, counted = served(run=lambda rows: seen.append(rows) or rows, datatype="BYTES")
    for array in (np.array([["é", b"b"]], object), np.array([["é", "b"]])):
        answer = await door.infer("g", {"x": array})
        assert isinstance(answer, dict)
        assert seen.pop()["x"].tolist() == [["é".encode(), b"b"]]
    assert counted.requests == [("g", "handle", "OK")] * 2


@pytest.mark.parametrize("element", [None, 7, "\ud800"])
async def test_elements_that_are_no_text_are_refused(element: object) -> None:
    door, counted = served(datatype="BYTES")
    answer = await door.infer("g", {"x": np.array([[element]], object)})
    assert isinstance(answer, InvalidInput)
    assert "input 'x'" in answer.message
    assert counted.requests == [("g", "handle", "INVALID_ARGUMENT")]


async def test_made_up_graphs_are_no_labels() -> None:
    door, counted = served()
    assert isinstance(await door.infer("made up", {}), NotFound)
    assert counted.requests == [("", "handle", "NOT_FOUND")]


@pytest.mark.parametrize("kind", UNSENDABLE)
async def test_an_output_that_cannot_be_sent_is_the_nodes_error(kind: str) -> None:
    door, counted = served(run=UNSENDABLE[kind])
    answer = await door.infer("g", {"x": np.ones((1, 1), np.float32)})
    assert isinstance(answer, MillraceError)
    assert "output 'x' cannot be sent" in answer.message
    assert counted.requests == [("g", "handle", "INTERNAL")]
