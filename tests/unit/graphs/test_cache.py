"""The cache: equal rows are computed once, also at the same time; nobody is harmed by the one who computes."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from configs.errors import NodeError, RowErrors
from configs.tensors import Rows
from graphs.batcher import BatchTiming
from graphs.cache import MOST_ROWS, Cached, RowStore, row_keys
from graphs.frame import Frame
from graphs.run import Answer, Run, Trace
from graphs.slot import Called
from graphs.terms import UNHURRIED


def run() -> Run:
    return Run(Frame(1, (), {}, {}), Trace(), UNHURRIED)


class Node:
    """Squares, and records what it is asked; while `gate` is closed a call waits; each of `fails` is raised once."""

    def __init__(self) -> None:
        self.asked: list[list[float]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails: list[Exception] = []

    async def __call__(self, rows: Rows, count: int, run: Run) -> Answer:
        self.asked.append(rows["x"][:, 0].tolist())
        await self.gate.wait()
        if self.fails:
            raise self.fails.pop(0)
        return {"y": rows["x"] ** 2}, BatchTiming(0, 0, {Called("n", "1"): 1.0}, count)


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def cached(node: Node) -> Cached:
    return Cached(node, "n", lambda: "1", RowStore(60, 1 << 20))


def rows(*values: float) -> Rows:
    return {"x": np.array([[value] for value in values], np.float32)}


async def ask(cached: Cached, *values: float) -> list[float]:
    outputs, _ = await cached(rows(*values), len(values), run())
    return outputs["y"][:, 0].tolist()


async def begun(cached: Cached, *values: float) -> "asyncio.Task[list[float]]":
    task = asyncio.create_task(ask(cached, *values))
    await asyncio.sleep(0)
    return task


async def test_known_rows_are_not_computed_again_and_order_is_kept(cached: Cached, node: Node) -> None:
    assert await ask(cached, 1, 2) == [1, 4]
    assert await ask(cached, 3, 2, 4, 1) == [9, 4, 16, 1]
    assert node.asked == [[1, 2], [3, 4]]


async def test_equal_rows_of_one_request_are_computed_once(cached: Cached, node: Node) -> None:
    assert await ask(cached, 5, 6, 5, 7, 6) == [25, 36, 25, 49, 36]
    assert [sorted(asked) for asked in node.asked] == [[5, 6, 7]]


async def test_equal_rows_at_the_same_time_are_computed_once(cached: Cached, node: Node) -> None:
    node.gate.clear()
    first, second = await begun(cached, 1, 2), await begun(cached, 2, 3)
    node.gate.set()
    assert await asyncio.gather(first, second) == [[1, 4], [4, 9]]
    assert node.asked == [[1, 2], [3]]


async def test_who_waits_for_a_row_computes_it_when_the_other_leaves(cached: Cached, node: Node) -> None:
    node.gate.clear()
    first, *others = [await begun(cached, 1) for _ in range(4)]
    first.cancel()
    await asyncio.sleep(0)
    node.gate.set()
    assert await asyncio.gather(*others) == [[1]] * 3
    assert node.asked == [[1], [1]]


async def test_who_waits_for_a_row_is_not_failed_by_the_other(cached: Cached, node: Node) -> None:
    node.gate.clear()
    node.fails = [NodeError("out of order")]
    first, second = await begun(cached, 1, 2), await begun(cached, 2)
    node.gate.set()
    with pytest.raises(NodeError):
        await first
    assert await second == [4]


async def test_two_requests_that_need_rows_of_each_other(cached: Cached, node: Node) -> None:
    node.gate.clear()
    tasks = [await begun(cached, 1, 2), await begun(cached, 2, 3), await begun(cached, 3, 1)]
    node.gate.set()
    assert await asyncio.gather(*tasks) == [[1, 4], [4, 9], [9, 1]]


async def test_bad_rows_are_named_as_the_request_counts_them(cached: Cached, node: Node) -> None:
    await ask(cached, 1, 2)
    node.fails = [RowErrors({1: "bad"})]
    with pytest.raises(RowErrors) as error:
        await ask(cached, 1, 7, 2, 8)
    assert error.value.reasons == {3: "bad"}


async def test_what_was_found_is_noted(cached: Cached) -> None:
    await ask(cached, 1, 2)
    asked = run()
    _, timing = await cached(rows(2, 2, 3), 3, asked)
    assert asked.trace.events == [("n", "cache hit", 2)]
    _, timing = await cached(rows(1), 1, run())
    assert timing.compute_s == {}


async def test_answers_whose_shape_depends_on_the_call_are_computed_together() -> None:
    async def padded(rows: Rows, count: int, run: Run) -> Answer:
        return {"y": np.zeros((count, int(rows["x"].max())))}, BatchTiming(0, 0, {}, count)

    cached = Cached(padded, "n", lambda: "1", RowStore(60, 1 << 20))
    for values, width in (((2,), 2), ((3,), 3), ((2, 3), 3)):
        outputs, _ = await cached(rows(*values), len(values), run())
        assert outputs["y"].shape == (len(values), width)


async def test_an_answer_does_not_change_what_is_remembered(cached: Cached) -> None:
    outputs, _ = await cached(rows(2), 1, run())
    outputs["y"][:] = 99
    assert await ask(cached, 2) == [4]


async def test_a_request_of_many_rows_goes_past_the_cache(cached: Cached, node: Node) -> None:
    values = list(map(float, range(MOST_ROWS + 1)))
    assert await ask(cached, *values) == [value**2 for value in values]
    await ask(cached, *values)
    assert node.asked == [values, values]
    await ask(cached, *values[1:])
    await ask(cached, *values[1:])
    assert len(node.asked) == 3


def clock(times: list[float]) -> Callable[[], float]:
    return lambda: times[0]


def test_rows_that_are_too_old_are_forgotten() -> None:
    now = [0.0]
    store = RowStore(10, 1 << 20, clock(now))
    store.put(b"a", rows(1))
    now[0] = 9.9
    assert store.get(b"a") is not None
    now[0] = 10
    assert store.get(b"a") is None
    assert store.bytes == 0


def test_the_least_recently_used_rows_go_first() -> None:
    store = RowStore(10, 2000)
    for key in (b"a", b"b", b"c"):
        store.put(key, rows(1))
    store.get(b"a")
    store.put(b"d", rows(1))
    assert [key for key in (b"a", b"b", b"c", b"d") if store.get(key)] == [b"a", b"c", b"d"]
    assert store.bytes <= 2000


def test_a_row_larger_than_the_store_is_not_kept() -> None:
    store = RowStore(10, 1000)
    store.put(b"a", {"y": np.zeros((1, 1000))})
    assert store.get(b"a") is None
    assert store.bytes == 0


def objects(*values: object) -> Rows:
    array = np.empty((1, len(values)), object)
    array[0] = values
    return {"x": array}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (rows(1), {"x": np.array([[1]], np.int32)}),
        (rows(1), {"z": rows(1)["x"]}),
        ({"x": np.zeros((1, 2, 3))}, {"x": np.zeros((1, 3, 2))}),
        (objects(b"a", b"bc"), objects(b"ab", b"c")),
        (objects(b"a"), objects("a")),
        (objects(b"\0\0"), objects(2)),
        ({"a": rows(1)["x"], "b": rows(2)["x"]}, {"a": rows(2)["x"], "b": rows(1)["x"]}),
    ],
    ids=["datatype", "name", "shape", "borders of bytes", "text", "numbers", "which input"],
)
def test_different_rows_have_different_keys(one: Rows, other: Rows) -> None:
    assert row_keys(one, 1, b"") != row_keys(other, 1, b"")


def test_a_rows_key_does_not_depend_on_its_neighbours_or_memory_order() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    keys = row_keys({"x": values}, 4, b"")
    assert row_keys({"x": np.asfortranarray(values)}, 4, b"") == keys
    assert row_keys({"x": values[2:3]}, 1, b"") == keys[2:3]
    assert len(set(keys)) == 4


def test_another_version_has_other_keys() -> None:
    assert row_keys(rows(1), 1, b"n\x001") != row_keys(rows(1), 1, b"n\x002")


def test_rows_without_elements_have_a_key() -> None:
    assert len(row_keys({"x": np.zeros((2, 0), np.float32)}, 2, b"")) == 2
