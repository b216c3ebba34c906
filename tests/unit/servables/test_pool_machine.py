"""A pool under whatever order of uses, cancellations, failures, drops and closes: what must hold always holds."""

import asyncio
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from configs.errors import MillraceError
from servables.memory import Memory
from servables.pool import AT_ONCE, Pool
from tests.support.simulated import Clock, SimulatedLoop
from tests.unit.servables.slow_source import Loaded, Models, Threads

LIMIT = 20
SIZES = {"a": 3, "b": 5, "c": 8, "d": 13, "e": 20, "zero": 0, "huge": 21}
MISJUDGED = {"wide": 12, "wider": 22}
"""They are expected to take 4."""
KEYS = [*SIZES, *MISJUDGED, "none"]


class Use:
    """A use of a model by a task."""

    def __init__(self, loop: SimulatedLoop, pool: Pool[str, Loaded], key: str, deadline: float) -> None:
        self.key, self.enough = key, loop.create_future()
        self.model: Loaded | None = None
        self.task = loop.begin(self._use(pool, key, deadline))

    async def _use(self, pool: Pool[str, Loaded], key: str, deadline: float) -> None:
        async with pool.use(key, deadline) as model:
            self.model = model
            await self.enough
            assert not model.closed


class PoolMachine(RuleBasedStateMachine):
    """Threads end when a rule says so; time passes when a rule says so."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.loop = SimulatedLoop(self.clock)
        self.source = Models(SIZES | dict.fromkeys(MISJUDGED, 4), MISJUDGED)
        self.threads = Threads()
        asyncio.set_event_loop(self.loop)
        self.pool: Pool[str, Loaded] = Pool(self.source, Memory(LIMIT), self.threads, self.clock.monotonic)
        self.uses: list[Use] = []
        self.dropped = Counter[str]()
        self.closing: asyncio.Task[Any] | None = None

    @rule(key=st.sampled_from(KEYS), patience_s=st.sampled_from([0.0, 1.0, 5.0, float("inf")]))
    def use(self, key: str, patience_s: float) -> None:
        ready = key in self.pool.loaded
        use = Use(self.loop, self.pool, key, self.clock.now + patience_s)
        assert not ready or use.model is not None, "what is loaded is used at once"
        self.uses.append(use)

    @precondition(lambda self: self.uses)
    @rule(data=st.data(), cancel=st.booleans())
    def leave(self, data: st.DataObject, cancel: bool) -> None:
        use = data.draw(st.sampled_from(self.uses))
        if cancel:
            use.task.cancel()
        elif not use.enough.done():
            use.enough.set_result(None)

    @precondition(lambda self: self.threads.works)
    @rule(data=st.data(), failure=st.sampled_from([None, None, None, OSError, asyncio.CancelledError]))
    def end(self, data: st.DataObject, failure: type[BaseException] | None) -> None:
        """Work ends; a little later, when some of those whom it concerns have run and others have not, a use leaves."""
        work = data.draw(st.sampled_from(self.threads.works))
        self.threads.works.remove(work)
        work.end(failure() if failure is not None and work.name == "load" else None)
        if self.uses and data.draw(st.booleans()):
            self.loop.turn(data.draw(st.integers(0, 4)))
            self.leave_now(data)

    def leave_now(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.uses)).task.cancel()

    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: str) -> None:
        self.loop.call_soon(self.pool.drop, key)
        self.dropped[key] += 1

    @rule(seconds=st.sampled_from([0.5, 2.0, 90.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.loop.turn()

    @rule(really=st.integers(0, 9))
    def close(self, really: int) -> None:
        if really == 0 and self.closing is None:
            self.closing = self.loop.begin(self.pool.close())

    @invariant()
    def what_must_hold(self) -> None:
        self.loop.turn()
        self.nothing_in_use_is_closed_and_no_model_is_there_twice()
        self.bytes_add_up_and_the_limit_holds_but_for_what_was_misjudged()
        self.nobody_waits_for_nothing()

    def nothing_in_use_is_closed_and_no_model_is_there_twice(self) -> None:
        assert not any(use.model.closed for use in self.using)
        assert len(set(self.pool.loaded)) == len(self.pool.loaded)
        loads = Counter(work.key for work in self.threads.works if work.name == "load")
        assert all(count <= 1 + self.dropped[key] for key, count in loads.items())
        assert all(key not in self.pool.loaded or self.dropped[key] for key in loads)
        assert loads.total() <= AT_ONCE

    def bytes_add_up_and_the_limit_holds_but_for_what_was_misjudged(self) -> None:
        alive = sum(self.source.size(model.key) for model in self.source.alive)
        assert self.pool.taken.host >= alive
        assert self.pool.taken.host == alive or any(work.name == "load" for work in self.threads.works)
        beyond = sum(MISJUDGED[model.key] - 4 for model in self.source.alive if model.key in MISJUDGED)
        assert self.pool.taken.host <= LIMIT + beyond

    def nobody_waits_for_nothing(self) -> None:
        """Whoever waits, waits for work that is under way, or for room that somebody uses."""
        waiting = any(use.model is None and not use.task.done() for use in self.uses)
        assert not waiting or self.threads.works or self.using

    @property
    def using(self) -> list[Use]:
        return [use for use in self.uses if use.model is not None and not use.task.done()]

    def teardown(self) -> None:
        """All end well: everybody leaves, all work is done, the pool closes and nothing is left."""
        closing = self.closing or self.loop.begin(self.pool.close())
        for _ in range(200):
            for use in self.uses:
                if not use.enough.done():
                    use.enough.set_result(None)
            self.loop.turn()
            if self.threads.works:
                self.threads.works.pop(0).end()
        assert closing.done()
        assert self.source.alive == []
        assert self.pool.taken == Memory()
        for use in self.uses:
            assert use.task.done(), f"{use.key} waits for ever"
            error = None if use.task.cancelled() else use.task.exception()
            assert error is None or isinstance(error, MillraceError)
        self.loop.close()
        asyncio.set_event_loop(None)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
