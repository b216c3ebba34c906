"""ModelStreamInfer: requests of a stream at the same time, their answers, their errors, their end."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Any

import grpc
import numpy as np
import pytest

from configs.errors import NodeError
from deployments import grpc_stream, large
from deployments.answering import Answered, Answering
from deployments.protocols import v2_grpc
from deployments.protocols import v2_proto as v2
from deployments.service import GraphService
from graphs.terms import UNHURRIED, Terms
from tests.support.grpc_client import rpc
from tests.unit.deployments.doors import gateway
from tests.unit.deployments.grpc_server import serving


class Streaming(Answering):
    """Answers a request as its first row says: how often, and at which number it fails. -1 waits for `go`."""

    def __init__(self) -> None:
        answering, self.counted = gateway()
        super().__init__(answering.services, answering.recorder)
        self.go, self.waiting, self.cancelled = asyncio.Event(), 0, 0

    async def stream(self, service: Any, request: Any, terms: Terms = UNHURRIED) -> AsyncGenerator[Answered, None]:
        times, fails = request.rows["x"][0]
        if times < 0:
            self.waiting += 1
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            times = -times
        for number in range(int(times)):
            if number == fails:
                raise NodeError(f"answer {number} failed")
            yield Answered({"x": np.full((1, 1), number, np.float32)}, [])


@pytest.fixture(autouse=True)
def _one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphService, "decoupled", False, raising=False)


@pytest.fixture
def decoupled(_one_answer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphService, "decoupled", True)


def ask(id_: str, times: float = 1, fails: float = -1, model: str = "g", **parameters: bool) -> Any:
    content = np.array([times, fails], np.float32).tobytes()
    request = v2.ModelInferRequest(model_name=model, id=id_, raw_input_contents=[content])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    for name, value in parameters.items():
        request.parameters[name].bool_param = value
    return request


def told(answer: Any) -> tuple[str, Any]:
    """The id, and the number in the answer or the error."""
    response = answer.infer_response
    if answer.error_message:
        return response.id, answer.error_message
    return response.id, np.frombuffer(response.raw_output_contents[0], np.float32)[0] if response.outputs else None


async def stream(answering: Answering, requests: Iterable[Any]) -> list[Any]:
    async with serving(answering) as channel:
        return [answer async for answer in rpc(channel, "ModelStreamInfer")(iter(requests))]


async def test_one_answer_to_each_request_in_turn() -> None:
    answering = Streaming()
    async with serving(answering) as channel, asyncio.timeout(20):
        call = rpc(channel, "ModelStreamInfer")()
        for id_, times in (("slow", -1.0), ("quick", 1.0)):
            await call.write(ask(id_, times))
        while not answering.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        answering.go.set()
        answers = [await call.read(), await call.read()]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert [told(answer) for answer in answers] == [("slow", 0), ("quick", 0)]
    for answer in answers:
        assert answer.infer_response.parameters["triton_final_response"].bool_param
        assert (answer.infer_response.model_name, answer.infer_response.model_version) == ("g", "1")
    assert sorted(answering.counted.requests) == [("g", "v2-grpc", "OK")] * 2


@pytest.mark.usefixtures("decoupled")
async def test_a_slow_request_holds_up_no_other_of_a_graph_that_streams() -> None:
    answering = Streaming()
    async with serving(answering) as channel, asyncio.timeout(20):
        call = rpc(channel, "ModelStreamInfer")()
        for id_, times in (("slow", -2.0), ("quick", 3.0)):
            await call.write(ask(id_, times))
        first = [told(await call.read()) for _ in range(3)]
        answering.go.set()
        await call.done_writing()
        rest = [told(await call.read()) for _ in range(2)]
        assert await call.read() is grpc.aio.EOF
    assert first == [("quick", 0), ("quick", 1), ("quick", 2)]
    assert rest == [("slow", 0), ("slow", 1)]


@pytest.mark.usefixtures("decoupled")
async def test_an_empty_answer_ends_a_request_that_wants_one() -> None:
    [plain] = await stream(Streaming(), [ask("a", 1)])
    assert not plain.infer_response.parameters["triton_final_response"].bool_param
    answers = await stream(Streaming(), [ask("b", 2, triton_enable_empty_final_response=True)])
    assert [told(answer) for answer in answers] == [("b", 0), ("b", 1), ("b", None)]
    finals = [answer.infer_response.parameters["triton_final_response"].bool_param for answer in answers]
    assert finals == [False, False, True]
    [nothing] = await stream(Streaming(), [ask("c", 0, triton_enable_empty_final_response=True)])
    assert told(nothing) == ("c", None)


async def test_errors_are_answers_and_the_stream_goes_on() -> None:
    answering = Streaming()
    requests = [
        ask("a", fails=0),
        ask("b", model="made up"),
        b"\xff\xff",
        v2.ModelInferRequest(model_name="g", id="d"),
        ask("e"),
    ]
    answers = [told(answer) for answer in await stream(answering, requests)]
    assert [id_ for id_, _ in answers] == ["a", "b", "", "d", "e"]
    for (_, said), words in zip(
        answers, ["answer 0 failed", "unknown model", "not a Model", "missing in"], strict=False
    ):
        assert words in said
    assert answers[-1] == ("e", 0)
    codes = [code for _, _, code in answering.counted.requests]
    assert sorted(codes) == ["INTERNAL", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "NOT_FOUND", "OK"]


@pytest.mark.usefixtures("decoupled")
async def test_an_error_after_some_answers() -> None:
    answers = await stream(Streaming(), [ask("a", 3, fails=1)])
    assert [told(answer) for answer in answers] == [("a", 0), ("a", "answer 1 failed")]


async def test_errors_that_nobody_foresaw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.protocols.v2_grpc.encode_infer", lambda *args: 1 / 0)
    [encoding] = await stream(Streaming(), [ask("a")])
    monkeypatch.setattr("deployments.protocols.v2_grpc.decode_infer", lambda *args: 1 / 0)
    [decoding] = await stream(Streaming(), [ask("b")])
    for id_, answer in (("a", encoding), ("b", decoding)):
        assert told(answer) == (id_, "internal error (ZeroDivisionError); the server's log has the details")


async def test_a_client_that_leaves_cancels_all_its_requests() -> None:
    answering = Streaming()
    async with serving(answering) as channel, asyncio.timeout(20):
        call = rpc(channel, "ModelStreamInfer")()
        for id_ in "ab":
            await call.write(ask(id_, -1))
        while answering.waiting < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        call.cancel()
        while answering.cancelled < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_stream_is_not_read_ahead_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_stream, "MOST_AT_ONCE", 3)
    answering = Streaming()
    async with serving(answering) as channel, asyncio.timeout(20):
        call = rpc(channel, "ModelStreamInfer")(iter([ask(str(number), -1) for number in range(10)]))
        while answering.waiting < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert answering.waiting == 3
        answering.go.set()
        assert [told(answer)[0] async for answer in call] == [str(number) for number in range(10)]


@pytest.mark.usefixtures("decoupled")
async def test_a_slow_reader_holds_up_its_graph() -> None:
    made = 0

    async def counted(times: int) -> AsyncGenerator[int, None]:
        nonlocal made
        for number in range(times):
            made += 1
            yield number

    async def one() -> AsyncIterator[bytes]:
        yield b""

    async def begin(_: bytes) -> grpc_stream.Begun[int]:
        return grpc_stream.Begun(counted(100), False)

    answers = grpc_stream.interleave(one(), begin)
    assert await anext(answers) == 0
    for _ in range(200):
        await asyncio.sleep(0)
    assert made <= grpc_stream.MOST_UNSENT + 1
    assert [answer async for answer in answers] == list(range(1, 100))


async def test_large_requests_and_answers_are_read_and_written_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[str] = []

    def noting(codec: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            threads.append(threading.current_thread().name)
            return codec(*args)

        return noted

    for codec in ("decode_infer", "encode_infer"):
        monkeypatch.setattr(v2_grpc, codec, noting(getattr(v2_grpc, codec)))
    monkeypatch.setattr(large, "LARGE", 1)
    answers = await stream(Streaming(), [ask("a"), ask("b")])
    assert [told(answer) for answer in answers] == [("a", 0), ("b", 0)]
    async with serving(gateway()[0]) as channel:
        await rpc(channel, "ModelInfer")(ask("c"))
    assert len(threads) == 6
    assert threading.main_thread().name not in threads
