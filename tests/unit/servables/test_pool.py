"""Models that are loaded when they are asked for, and let go when others need the room."""

import asyncio
from collections.abc import Callable

import pytest

from configs.errors import DeadlineExceeded, ModelError, Unavailable
from servables.memory import Memory
from servables.pool import AT_ONCE, Pool
from tests.support.simulated import Clock
from tests.unit.servables.slow_source import Loaded, Models, Threads

Asked = Callable[..., "User"]


class User:
    """Uses a model in a task of its own, until it is told to go."""

    def __init__(self, pool: Pool[str, Loaded], key: str, deadline: float) -> None:
        self.model: Loaded | None = None
        self._enough = asyncio.Event()
        self.task = asyncio.create_task(self._use(pool, key, deadline))

    async def _use(self, pool: Pool[str, Loaded], key: str, deadline: float) -> None:
        async with pool.use(key, deadline) as self.model:
            await self._enough.wait()
            assert not self.model.closed

    async def go(self) -> None:
        self._enough.set()
        await self.task


class World:
    """A pool of 100 bytes whose loads and closes end when the test says so. `a`, `b` and `c` take 40 each."""

    def __init__(self, misjudged: dict[str, int] | None = None, small: int = 0) -> None:
        sizes = {"a": 40, "b": 40, "c": 40, "large": 90, "huge": 101} | {f"s{i}": 1 for i in range(small)}
        self.source, self.threads, self.clock = Models(sizes, misjudged), Threads(), Clock()
        self.pool = Pool[str, Loaded](self.source, Memory(100), self.threads, self.clock.monotonic)

    async def ask(self, key: str, deadline: float = float("inf")) -> User:
        user = User(self.pool, key, deadline)
        await settle()
        return user

    async def end(self, text: str, error: BaseException | None = None) -> None:
        self.threads.end(text, error)
        await settle()

    async def have(self, *keys: str) -> None:
        """Load models that nobody then uses."""
        for key in keys:
            user = await self.ask(key)
            await self.end(f"load {key}")
            await user.go()


async def settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


async def test_all_who_ask_for_a_model_share_one_load_and_then_it_is_there() -> None:
    world = World()
    users = [await world.ask("a") for _ in range(3)]
    assert world.threads.under_way == ["load a"]
    await world.end("load a")
    assert len({user.model for user in users}) == 1
    late = await world.ask("a")
    assert late.model is users[0].model
    assert world.pool.counts.loads == 1
    assert (world.pool.counts.hits, world.pool.counts.misses) == (1, 3)
    for user in [*users, late]:
        await user.go()


async def test_the_least_recently_used_goes_when_room_is_needed_and_before_the_load() -> None:
    world = World()
    await world.have("a", "b")
    await (await world.ask("a")).go()
    user = await world.ask("c")
    assert world.threads.under_way == ["close b"]
    assert world.pool.taken == Memory(80), "what is being closed still takes its memory"
    await world.end("close b")
    assert world.threads.under_way == ["load c"]
    await world.end("load c")
    assert world.pool.loaded == ["a", "c"]
    await user.go()


async def test_a_model_in_use_is_never_closed_and_who_needs_its_room_waits() -> None:
    world = World()
    await world.have("a")
    using, also = await world.ask("a"), await world.ask("a")
    waiting = await world.ask("large")
    await using.go()
    assert (world.threads.under_way, world.pool.waiting) == ([], 1)
    await also.go()
    await settle()
    assert world.threads.under_way == ["close a"]
    await world.end("close a")
    await world.end("load large")
    await waiting.go()


async def test_a_small_model_does_not_overtake_a_large_one_that_waits_but_loaded_ones_are_used() -> None:
    world = World(small=1)
    await world.have("a")
    using = await world.ask("a")
    large, small = await world.ask("large"), await world.ask("s0")
    assert (await world.ask("a")).model is using.model
    assert world.threads.under_way == []
    assert not large.task.done()
    large.task.cancel()
    await settle()
    assert world.threads.under_way == ["load s0"], "whoever gives up holds nobody up"
    await world.end("load s0")
    await small.go()


async def test_different_models_load_side_by_side_but_not_more_than_a_few() -> None:
    world = World(small=AT_ONCE + 1)
    for i in range(AT_ONCE + 1):
        await world.ask(f"s{i}")
    assert len(world.threads.under_way) == AT_ONCE
    await world.end("load s1")
    assert world.threads.under_way[-1] == f"load s{AT_ONCE}"


async def test_a_load_that_nobody_waits_for_is_cancelled_before_it_begins_and_kept_after() -> None:
    world = World()
    await world.have("a")
    using = await world.ask("a")
    begun = await world.ask("b")
    waiting = await world.ask("c")
    for user in (begun, waiting):
        user.task.cancel()
    await settle()
    assert world.pool.waiting == 0
    await world.end("load b")
    await using.go()
    assert world.pool.loaded == ["b", "a"]
    assert world.threads.under_way == []
    assert (await world.ask("b")).model is not None


async def test_a_model_that_comes_just_when_its_only_user_leaves_is_free() -> None:
    world = World()
    user = await world.ask("a")
    world.threads.end("load a")
    while not world.pool.loaded:  # noqa: ASYNC110  given, but its user has not run yet
        await asyncio.sleep(0)
    assert user.model is None
    user.task.cancel()
    await settle()
    await world.ask("large")
    assert world.threads.under_way == ["close a"]


async def test_a_failure_is_told_to_all_and_tried_again_after_a_pause_that_grows() -> None:
    world = World()
    users = [await world.ask("a") for _ in range(2)]
    await world.end("load a", OSError("disk is away"))
    for user in users:
        with pytest.raises(ModelError, match=r"model a does not load: OSError: disk is away; .* in the next 1.0 s"):
            await user.task
    assert users[0].task.exception() is not users[1].task.exception()
    world.clock.now += 0.9
    with pytest.raises(ModelError, match=r"disk is away; it is not tried again in the next 0.1 s"):
        await (await world.ask("a")).task
    world.clock.now += 0.2
    again = await world.ask("a")
    await world.end("load a", ModelError("node m: weights.bin is damaged"))
    with pytest.raises(ModelError, match=r"weights.bin is damaged; it is not tried again in the next 2.0 s"):
        await again.task
    assert world.pool.taken == Memory()
    world.pool.drop("a")  # repaired, says somebody
    await world.have("a")


async def test_loading_that_cancels_itself_has_failed() -> None:
    world = World()
    user = await world.ask("a")
    await world.end("load a", asyncio.CancelledError())
    with pytest.raises(ModelError, match="model a does not load: its loading was cancelled"):
        await user.task


async def test_a_model_larger_than_the_pool_is_refused_with_both_numbers() -> None:
    world = World(misjudged={"a": 101})
    with pytest.raises(ModelError, match=r"model huge takes 0.0 MB of the host's memory, and all models of the pool"):
        await (await world.ask("huge")).task
    user = await world.ask("a")
    await world.end("load a")
    with pytest.raises(ModelError, match=r"model a takes 0.0 MB"):
        await user.task
    await world.end("close a")
    world.clock.now += 10
    with pytest.raises(ModelError, match="model a takes"):
        await (await world.ask("a")).task
    assert world.threads.under_way == [], "what it takes is known, so it is not loaded again"


async def test_who_finds_no_room_in_time_is_told_what_is_taken() -> None:
    world = World()
    await world.have("a")
    using = await world.ask("a")
    waiting = await world.ask("large", world.clock.now + 0.01)
    with pytest.raises(DeadlineExceeded, match=r"model large found no room in 0.01 s: .* 1 models, of which 1 are in"):
        await waiting.task
    loading = await world.ask("b", world.clock.now + 0.01)
    with pytest.raises(DeadlineExceeded, match=r"model b was not loaded in 0.01 s; it may be there later"):
        await loading.task
    with pytest.raises(DeadlineExceeded, match="the deadline has passed"):
        await (await world.ask("c", world.clock.now)).task
    assert (await world.ask("a", world.clock.now)).model is using.model, "what is there needs no time"


async def test_what_takes_more_than_expected_has_others_leave_at_once_or_when_they_can() -> None:
    world = World(misjudged={"c": 70})
    await world.have("a")
    using = await world.ask("a")
    await world.ask("c")
    await world.end("load c")
    assert world.pool.taken == Memory(110)
    assert world.threads.under_way == []
    await using.go()
    await settle()
    assert world.threads.under_way == ["close a"]


async def test_the_next_load_waits_for_as_much_room_as_the_last_one_took() -> None:
    world = World(misjudged={"c": 70})
    await world.have("c")
    large = await world.ask("large")
    await world.end("close c")
    await world.end("load large")
    await large.go()
    await world.ask("a")
    await world.end("close large")
    await world.end("load a")
    await world.ask("c")
    assert (world.pool.waiting, world.threads.under_way) == (1, []), "70 bytes, not 40 as its files"


async def test_what_is_dropped_goes_with_its_last_user_and_the_next_use_loads_it_anew() -> None:
    world = World()
    await world.have("a")
    using = await world.ask("a")
    world.pool.drop("a")
    other = await world.ask("a")
    assert world.threads.under_way == ["load a"]
    world.pool.drop("a")  # while it is being loaded: for those who wait for it, and no others
    await world.end("load a")
    assert other.model is not using.model
    assert world.pool.loaded == []
    for user in (using, other):
        await user.go()
    await settle()
    assert world.threads.under_way == ["close a", "close a"]


async def test_a_model_that_cannot_be_closed_is_gone_all_the_same() -> None:
    world = World()
    await world.have("a")
    world.pool.drop("a")
    await settle()
    await world.end("close a", RuntimeError("handle is lost"))
    assert world.pool.taken == Memory()


async def test_closing_waits_for_those_who_use_models_and_refuses_others() -> None:
    world = World()
    await world.have("a", "b")
    using = await world.ask("a")
    loading = await world.ask("c")
    await world.end("close b")
    waiting = await world.ask("large")
    closing = asyncio.create_task(world.pool.close())
    await settle()
    for user in (waiting, await world.ask("b")):
        with pytest.raises(Unavailable, match="the pool is closed"):
            await user.task
    await world.end("load c")
    assert loading.model is not None
    await loading.go()
    await using.go()
    await settle()
    for text in ("close a", "close c"):
        assert not closing.done()
        await world.end(text)
    await closing
    await world.pool.close()
    assert (world.source.alive, world.pool.taken) == ([], Memory())
