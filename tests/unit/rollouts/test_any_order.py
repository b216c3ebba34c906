"""Whatever happens in whatever order, it ends as wanted; nothing cold is routed, nothing in use is freed."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from configs.errors import ModelError
from configs.versions import Versions
from rollouts import keeper
from rollouts.life import MOVES, Key, Phase
from rollouts.plan import Verb
from tests.unit.rollouts.memory_store import MemoryStore
from tests.unit.rollouts.world import SERVABLE, World, key

T = TypeVar("T")

numbers = st.integers(1, 4)
policies = st.sampled_from(
    [Versions(), Versions(latest=2), Versions(all=True), Versions(only=[1, 3]), Versions(keep=1), Versions(keep=2)]
)
looks = st.integers(0, 8)
broken_at = st.one_of(st.none(), st.sampled_from([verb for verb in Verb if verb is not Verb.UNLOAD]))


async def at_once(function: Callable[..., T], *args: Any) -> T:
    return function(*args)


class Lives(RuleBasedStateMachine):
    """Publishers, operators, crashes, gateways and time act on one servable."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(asyncio, "to_thread", at_once)  # the state is in memory
        self.patch.setattr(keeper.logger, "disabled", True)  # tens of thousands of lines
        self.loop = asyncio.new_event_loop()
        self.world = World(MemoryStore())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def go_on(self, looks: int) -> None:
        """Control gets so far; gateways hear nothing of it. What it has begun in the end is left in the middle."""
        for _ in range(looks):
            for each in list(self.world.pending):
                self.run(self.world.finish(each))
            self.run(self.world.reconcile())

    @initialize(policy=policies)
    def begin(self, policy: Versions) -> None:
        self.world.policies = {SERVABLE: policy}
        self.world.offered = {key(1)}
        self.run(self.world.settle())

    # Those who publish and operate.

    @rule(number=numbers, digest=st.sampled_from("ab"), breaks=broken_at, looks=looks)
    def publish(self, number: int, digest: str, breaks: Verb | None, looks: int) -> None:
        new = key(number, digest)
        if breaks and new not in {life.key for life in self.world.store.lives()[SERVABLE]}:
            self.world.breaks[new] = breaks
        self.unpublish(number, 0)
        self.world.offered.add(new)
        self.go_on(looks)

    @rule(number=numbers, looks=looks)
    def unpublish(self, number: int, looks: int) -> None:
        self.world.offered = {each for each in self.world.offered if each.number != number}
        self.go_on(looks)

    @precondition(lambda self: self.world.breaks)
    @rule(data=st.data(), looks=looks)
    def mend(self, data: st.DataObject, looks: int) -> None:
        del self.world.breaks[data.draw(st.sampled_from(sorted(self.world.breaks)))]
        self.go_on(looks)

    @rule(policy=st.one_of(st.none(), policies), looks=looks)
    def configure(self, policy: Versions | None, looks: int) -> None:
        self.world.policies = {SERVABLE: policy} if policy else {}
        self.go_on(looks)

    @rule(number=st.one_of(st.none(), numbers), looks=looks)
    def pin(self, number: int | None, looks: int) -> None:
        self.world.store.pin(SERVABLE, number)
        self.go_on(looks)

    # What goes wrong.

    @precondition(lambda self: self.world.pending)
    @rule(data=st.data(), looks=looks)
    def fail_once(self, data: st.DataObject, looks: int) -> None:
        self.run(self.world.finish(data.draw(st.sampled_from(sorted(self.world.pending))), works=False))
        self.go_on(looks)

    @rule(looks=looks)
    def kill_control(self, looks: int) -> None:
        self.run(self.world.kill_control())
        self.go_on(looks)

    @precondition(lambda self: self.world.pending)
    @rule(data=st.data(), looks=looks)
    def kill_control_before_it_records(self, data: st.DataObject, looks: int) -> None:
        done = data.draw(st.sampled_from(sorted(self.world.pending)))
        with suppress(ModelError):  # nor is a failure recorded
            self.world.take_effect(self.world.pending[done][0], done)
        self.kill_control(looks)

    @precondition(lambda self: self.world.memory)
    @rule(data=st.data(), looks=looks)
    def lose_processes(self, data: st.DataObject, looks: int) -> None:
        del self.world.memory[data.draw(st.sampled_from(sorted(self.world.memory)))]
        self.go_on(looks)

    @rule(looks=looks)
    def restart_cluster(self, looks: int) -> None:
        self.world.restart_cluster()
        self.kill_control(looks)

    @rule()
    def lose_source(self) -> None:
        self.run(self.world.reconcile(published={}))

    # Gateways and time.

    @rule(indices=st.sampled_from([(0,), (1,), (0, 1)]), looks=looks)
    def poll_or_restart_gateways(self, indices: tuple[int, ...], looks: int) -> None:
        for index in indices:
            self.world.poll(index)
        self.go_on(looks)

    @rule(seconds=st.sampled_from([0.1, 2, 400]), looks=looks)
    def pass_time(self, seconds: float, looks: int) -> None:
        self.world.now += seconds
        self.go_on(looks)

    # What always holds. `World` checks what is routed and what is freed.

    @invariant()
    def nothing_in_use_is_freed(self) -> None:
        assert not self.world.wrong

    @invariant()
    def only_moves_that_there_are(self) -> None:
        phases: dict[Key, Phase] = {}
        for each in reversed(self.world.store.history(SERVABLE, 10_000)):
            assert each.before == phases.get(each.key)
            assert each.before is None or each.after in MOVES[each.before]
            phases[each.key] = each.after

    def teardown(self) -> None:
        try:
            self.end()
        finally:
            self.loop.close()
            self.patch.undo()

    def end(self) -> None:
        self.go_on(1)
        before = self.world.store.routes().versions.get(SERVABLE)
        self.run(self.world.settle())
        self.ends_as_wanted(before)
        self.run(self.world.keeper.close())

    def ends_as_wanted(self, before: Key | None) -> None:
        world, routed = self.world, self.world.store.routes().versions.get(SERVABLE)
        if not world.policies:
            assert routed is None
            assert not world.memory
            return
        working = sorted((each for each in world.offered if each not in world.breaks), reverse=True)
        best = self.chosen(working)
        if not best:
            assert routed == before
            return
        assert routed == best[0]
        others = set(world.memory) - set(best) - set(world.breaks)  # those are being tried again
        assert set(best) <= set(world.memory)
        assert len(others) <= world.policies[SERVABLE].keep
        assert others <= world.offered

    def chosen(self, working: list[Key]) -> list[Key]:
        policy, pin = self.world.policies[SERVABLE], self.world.store.pins().get(SERVABLE)
        if pin is not None:
            return [each for each in working if each.number == pin]
        if policy.only:
            return [each for each in working if each.number in policy.only]
        return working[: policy.newest]


Lives.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestLives = Lives.TestCase
