"""A shared cache: another process's rows are found; a store that is away, slow or full of rubbish costs nothing."""

import asyncio
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest

from configs.errors import ConfigError, MissingExtra
from configs.graph import CallNode
from configs.tensors import Rows
from graphs import redis_rows
from graphs.batcher import BatchTiming
from graphs.cache import Cached, RowStore
from graphs.frame import Frame
from graphs.policies import guard
from graphs.redis_rows import RedisRows, StoreAway
from graphs.run import Answer, Run, Trace
from graphs.terms import UNHURRIED
from tests.support.redis_server import RedisServer

TTL_S = 60


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    async with RedisServer() as running:
        yield running


class Process:
    """A gateway's cached node that squares."""

    def __init__(self, url: str, **of: float) -> None:
        self.asked: list[list[float]] = []
        self.shared = RedisRows(url, TTL_S, **of)  # type: ignore[arg-type]
        self.node = Cached(self._square, "n", lambda: "1", RowStore(TTL_S, 1 << 20), self.shared)

    async def _square(self, rows: Rows, count: int, run: Run) -> Answer:
        self.asked.append(rows["x"][:, 0].tolist())
        return {"y": rows["x"] ** 2}, BatchTiming(0, 0, {}, count)

    async def ask(self, *values: float) -> tuple[list[float], list[tuple[str, str, int]]]:
        run = Run(Frame(1, (), {}, {}), Trace(), UNHURRIED)
        outputs, _ = await self.node({"x": np.array(values)[:, None]}, len(values), run)
        return outputs["y"][:, 0].tolist(), run.trace.events

    async def ready(self) -> None:
        """Once the store is found."""
        while True:
            try:
                await self.shared.get([b"0"])
            except StoreAway:
                await asyncio.sleep(0.01)
            else:
                return

    async def written(self) -> None:
        await asyncio.gather(*self.shared._writes)


async def test_rows_of_another_process_are_found(redis: RedisServer) -> None:
    one, two = Process(redis.url), Process(redis.url)
    await one.ready()
    await two.ready()
    assert await one.ask(2, 3) == ([4, 9], [])
    await one.written()
    assert await two.ask(2, 4, 3, 2) == ([4, 16, 9, 4], [("n", "cache hit", 2)])
    assert two.asked == [[4]]
    assert await two.ask(2) == ([4], [("n", "cache hit", 1)])  # from its own memory now
    await one.shared.close()
    await two.shared.close()


async def test_a_row_gets_no_older_by_being_shared(redis: RedisServer) -> None:
    one = Process(redis.url)
    await one.ready()
    await one.ask(2)
    await one.written()
    await one.shared.close()
    later = RedisRows(redis.url, TTL_S, clock=lambda: time.time() + TTL_S - 1)
    while True:
        try:
            [(_, left_s)] = (await later.get([key.removeprefix(b"millrace:") for key in redis.values])).values()
            break
        except StoreAway:
            await asyncio.sleep(0.01)
    assert 0 < left_s <= 1
    later._clock = lambda: time.time() + TTL_S + 1
    assert await later.get([key.removeprefix(b"millrace:") for key in redis.values]) == {}
    await later.close()


async def test_without_a_store_the_node_is_asked() -> None:
    alone = Process("redis://127.0.0.1:1/0")
    started = time.monotonic()
    assert await alone.ask(2) == ([4], [("n", "cache away", 1)])
    assert await alone.ask(2) == ([4], [("n", "cache hit", 1)])
    assert time.monotonic() - started < 1
    assert alone.asked == [[2]]
    await alone.shared.close()


async def test_a_store_that_stalls_or_dies_holds_nobody_up(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_rows, "TRY_AGAIN_S", 0.01)
    monkeypatch.setattr(redis_rows, "CONNECT_WITHIN_S", 0.1)
    one = Process(redis.url)
    await one.ready()
    redis.stall = True
    assert await one.ask(2) == ([4], [("n", "cache away", 1)])
    redis.stall = False
    await one.ready()
    assert (await one.ask(3))[1] == []
    await one.written()
    await redis.__aexit__()
    assert await one.ask(4) == ([16], [("n", "cache away", 1)])
    await redis.__aenter__()
    await one.ready()
    assert (await one.ask(5))[1] == []
    await one.shared.close()


async def test_what_is_not_ours_is_a_miss(redis: RedisServer) -> None:
    one, two = Process(redis.url), Process(redis.url)
    await one.ready()
    await two.ready()
    await one.ask(2)
    await one.written()
    for rubbish in (b"", b"x" * 100, np.float64(9e99).tobytes() + b"MR1\xff\xff", b"\x80\x04."):
        redis.values = {key: (rubbish, until) for key, (_, until) in redis.values.items()}
        assert (await Process.ask(two, 2))[0] == [4]
        two.node._store = RowStore(TTL_S, 1 << 20)
        await two.written()
    assert two.asked == [[2]] * 4
    await one.shared.close()
    await two.shared.close()


async def test_rows_without_a_form_are_not_written(redis: RedisServer) -> None:
    one = Process(redis.url)
    await one.ready()
    one.shared.put({b"k": {"y": np.array([{}], object)}})
    await one.written()
    assert redis.values == {}
    await one.shared.close()


async def test_a_node_of_another_kind_has_other_keys(redis: RedisServer) -> None:
    async def keys(**cache: str) -> set[bytes]:
        redis.values.clear()
        config = CallNode.model_validate({"call": "a:b", "inputs": {"x": "x"}, "cache": {"store": redis.url, **cache}})
        one = Process(redis.url)
        node = guard(one._square, "n", config)
        assert isinstance(node, Cached)
        one.node, one.shared = node, node._shared  # type: ignore[assignment]
        await one.ready()
        await one.ask(2)
        await one.written()
        await one.shared.close()
        return set(redis.values)

    assert await keys() == await keys()
    assert await keys() != await keys(key="2")


def test_a_url_that_is_none_is_told_without_its_password() -> None:
    with pytest.raises(ConfigError, match="no URL of Redis") as found:
        RedisRows("redis://:secret@host:port/0", 1)
    assert "secret" not in found.value.message


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    with pytest.raises(MissingExtra, match=r"millrace\[redis\]"):
        RedisRows("redis://127.0.0.1/0", 1)
