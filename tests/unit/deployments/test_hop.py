"""Calls of a stage: again elsewhere when a replica goes, in several messages when one is too small."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError

from configs.errors import InvalidInput, MillraceError, NodeError, RowErrors, TooLarge, Unavailable
from configs.tensors import Rows
from deployments.hop import Answer, StageCall
from graphs.batcher import BatchTiming
from graphs.sequences import Sequence
from graphs.slot import Called
from graphs.terms import Terms

RAY_LIMIT = 4 << 20
N = Called("n", "")
TIMING = BatchTiming(0.5, 0.25, {N: 2.0}, 4)
GONE = ActorUnavailableError("gone", b"1" * 16)
GONE.__context__ = grpc.aio.AioRpcError(
    grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "failed to connect to all addresses"
)


class Handle:
    """In the place of Serve's: `replica` is what a replica does; messages have gRPC's size limit both ways."""

    def __init__(self, replica: Callable[[Rows, int], Answer | MillraceError]) -> None:
        self.replica = replica
        self.counts: list[int] = []
        self.running = self.most_running = self.most_at_second_try = 0

    def options(self, **_: Any) -> "Handle":
        return self

    def remote(
        self, rows: Rows, count: int, left_s: float, priority: int, sequence: object, carried: object
    ) -> Awaitable[Answer | MillraceError]:
        return self._call(rows, count)

    async def _call(self, rows: Rows, count: int) -> Answer | MillraceError:
        self.counts.append(count)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        if len(self.counts) > 8:
            self.most_at_second_try = max(self.most_at_second_try, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        fits((rows, count))
        answer = self.replica(rows, count)
        fits(answer)
        return answer


def fits(message: object) -> None:
    if (size := len(pickle.dumps(message))) > RAY_LIMIT:
        raise rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, f"larger than max ({size} vs. {RAY_LIMIT})")


def rpc_error(code: grpc.StatusCode, details: str = "") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


def echo(rows: Rows, count: int) -> Answer:
    return rows, TIMING


def in_turn(*answers: MillraceError | Exception | None) -> Handle:
    """Answers with these, raises those that are not ours, echoes at None."""
    left = iter(answers)

    def replica(rows: Rows, count: int) -> Answer | MillraceError:
        answer = next(left)
        if isinstance(answer, MillraceError):
            return answer
        if answer is not None:
            raise answer
        return echo(rows, count)

    return Handle(replica)


ONE: Rows = {"x": np.zeros((1, 2), np.float32)}


@pytest.mark.parametrize(
    "failure",
    [Unavailable("shutting down"), GONE, rpc_error(grpc.StatusCode.CANCELLED), ConnectionResetError()],
    ids=lambda failure: type(failure).__name__,
)
async def test_what_a_leaving_replica_held_is_sent_again(failure: Exception) -> None:
    outputs, timing = await StageCall("n", in_turn(failure, failure, None))(ONE, 1)
    assert outputs["x"] is ONE["x"]
    assert timing is TIMING


BROKEN = ActorUnavailableError("broken", b"1" * 16)
BROKEN.__context__ = rpc_error(grpc.StatusCode.UNAVAILABLE, "Socket closed")
NOT_THERE = rpc_error(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses")


async def test_rows_that_were_in_a_process_that_ended_twice_are_not_sent_a_third_time() -> None:
    handle = in_turn(BROKEN, BROKEN)
    with pytest.raises(NodeError, match="its process ended twice while it had these rows"):
        await StageCall("n", handle)(ONE, 1)
    assert handle.counts == [1, 1]


async def test_a_replica_that_was_not_reached_harms_no_rows() -> None:
    outputs, _ = await StageCall("n", in_turn(BROKEN, NOT_THERE, None))(ONE, 1)
    assert outputs["x"] is ONE["x"]


async def test_rows_of_a_node_that_is_not_idempotent_are_sent_once() -> None:
    handle = in_turn(BROKEN)
    with pytest.raises(NodeError, match="it is not idempotent"):
        await StageCall("n", handle, idempotent=False)(ONE, 1)
    assert handle.counts == [1]


async def test_one_poisonous_request_ends_the_next_process_alone() -> None:
    alive = iter([False] * 8)  # the first process ends with everything in it, the next with the poison alone

    def replica(rows: Rows, count: int) -> Answer:
        if not next(alive, True) or rows["x"][0, 0] == 7:
            raise BROKEN
        return echo(rows, count)

    handle = Handle(replica)
    call = StageCall("n", handle)
    answers = await asyncio.gather(
        *(call({"x": np.full((1, 1), value)}, 1) for value in range(8)), return_exceptions=True
    )
    assert [isinstance(answer, NodeError) for answer in answers] == [False] * 7 + [True]
    assert handle.most_at_second_try == 1


async def test_after_the_last_try_the_reason_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    call = StageCall("n", in_turn(*[GONE] * 7, Unavailable("shutting down")))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(Unavailable, match=r"node n: no replica answered in 8 tries .shutting down"):
        await call(ONE, 1)
    assert [seconds for seconds in slept if seconds] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]


async def test_a_nodes_own_error_is_not_tried_again() -> None:
    handle = in_turn(InvalidInput("negative value"))
    with pytest.raises(InvalidInput, match=r"^negative value$"):
        await StageCall("n", handle)(ONE, 1)
    assert handle.counts == [1]


async def test_many_rows_go_in_messages_that_ray_takes_by_default_and_come_back_in_order() -> None:
    handle = Handle(echo)
    rows: Rows = {
        "image": np.arange(8 * 500_000, dtype=np.int32).reshape(8, -1),  # 2 MB a row
        "name": np.array([b"%d" % number for number in range(8)], object),
    }
    outputs, timing = await StageCall("n", handle)(rows, 8)
    np.testing.assert_array_equal(outputs["image"], rows["image"])
    assert outputs["name"].tolist() == rows["name"].tolist()
    assert handle.counts == [1] * 8
    assert handle.most_running == 8
    assert timing == BatchTiming(0.5, 0.25 * 8, {N: 2.0 * 8}, 4)


async def test_bad_rows_of_a_part_are_named_as_the_caller_counts_them() -> None:
    def replica(rows: Rows, count: int) -> Answer | MillraceError:
        bad = np.flatnonzero(rows["x"][:, 0] < 0)
        return RowErrors({int(bad[0]): "negative"}) if len(bad) else (rows, TIMING)

    x = np.zeros((10, 250_000), np.float32)
    x[7] = -1
    with pytest.raises(RowErrors) as error:
        await StageCall("n", Handle(replica))({"x": x}, 10)
    assert error.value.reasons == {7: "negative"}


async def test_texts_count_too() -> None:
    handle = Handle(echo)
    await StageCall("n", handle)({"page": np.array([bytes(1 << 20)] * 5, object)}, 5)
    assert handle.counts == [2, 2, 1]


async def test_answers_that_are_too_large_are_asked_for_in_halves_and_next_time_in_parts() -> None:
    handle = Handle(lambda rows, count: ({"y": np.repeat(rows["x"], 1 << 18, axis=1)}, TIMING))  # 1 MiB a row
    call = StageCall("n", handle)
    rows: Rows = {"x": np.arange(8, dtype=np.float32).reshape(8, 1)}
    outputs, _ = await call(rows, 8)
    assert outputs["y"][:, -1].tolist() == list(range(8))
    handle.counts.clear()
    await call(rows, 8)
    assert handle.counts == [3, 3, 2]


async def test_a_row_that_no_message_holds_is_refused_with_the_limit_and_the_remedy() -> None:
    with pytest.raises(TooLarge, match=r"node n: a row of 5000000 bytes.*vs. 4194304.*REPLICA_GRPC_MAX_MESSAGE_LENGTH"):
        await StageCall("n", Handle(echo))({"x": np.zeros((2, 5_000_000), np.uint8)}, 2)


async def test_parts_that_share_a_call_count_it_once() -> None:
    leads = iter([True, False, False])
    handle = Handle(lambda rows, count: (rows, BatchTiming(0.1, 0.2, {N: 3.0}, 5, next(leads))))
    _, timing = await StageCall("n", handle)({"x": np.zeros((3, 3 << 20), np.uint8)}, 3)
    assert timing == BatchTiming(0.1, 0.2, {N: 3.0}, 5, leads=True)


async def test_parts_whose_outputs_do_not_fit_together_are_the_nodes_error() -> None:
    widths = iter([1, 2])
    handle = Handle(lambda rows, count: ({"y": np.zeros((count, next(widths)))}, TIMING))
    with pytest.raises(NodeError, match=r"node n gave outputs that differ .* send fewer rows"):
        await StageCall("n", handle)({"x": np.zeros((2, 3 << 20), np.uint8)}, 2)


async def test_parts_of_a_sequence_go_one_after_another_and_only_the_first_begins_it() -> None:
    told: list[object] = []

    class Told(Handle):
        def remote(
            self, rows: Rows, count: int, left_s: float, priority: int, sequence: object, carried: object
        ) -> Awaitable[Answer | MillraceError]:
            told.append(sequence)
            return super().remote(rows, count, left_s, priority, sequence, carried)

    handle = Told(echo)
    rows: Rows = {"x": np.arange(3 << 20, dtype=np.float32).reshape(12, -1)}
    outputs, _ = await StageCall("n", handle)(rows, 12, Terms(sequence=Sequence(7, start=True, end=True)))  # type: ignore[arg-type]
    np.testing.assert_array_equal(outputs["x"], rows["x"])
    assert handle.most_running == 1
    first, *middle, last = told
    assert (first, last) == (Sequence(7, start=True), Sequence(7, end=True))
    assert set(middle) == {Sequence(7)}
