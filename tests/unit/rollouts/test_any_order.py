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
from rollouts.life import IN_MEMORY, MOVES, Key, Phase
from rollouts.plan import Verb
from tests.unit.rollouts.memory_store import MemoryStore
from tests.unit.rollouts.world import OTHER, SERVABLE, World, key

T = TypeVar("T")

numbers = st.integers(1, 4)
servables = st.sampled_from([SERVABLE, OTHER])
policies = st.sampled_from(
    [Versions(), Versions(latest=2), Versions(all=True), Versions(only=[1, 3]), Versions(keep=1), Versions(keep=2)]
)
looks = st.integers(0, 8)
broken_at = st.one_of(st.none(), st.sampled_from([verb for verb in Verb if verb is not Verb.UNLOAD]))


async def at_once(function: Callable[..., T], *args: Any) -> T:
    return function(*args)


class Lives(RuleBasedStateMachine):
    """Publishers, operators, crashes, gateways and time act on two servables."""

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
        self.world.policies = {SERVABLE: policy, OTHER: Versions()}
        self.world.offered = {key(1), key(1, servable=OTHER)}
        self.run(self.world.settle())

    # Those who publish and operate.

    @rule(number=numbers, digest=st.sampled_from("ab"), of=servables, breaks=broken_at, looks=looks)
    def publish(self, number: int, digest: str, of: str, breaks: Verb | None, looks: int) -> None:
        new = key(number, digest, of)
        if breaks and new not in self.world.seen():
            self.world.breaks[new] = breaks
        self.unpublish(number, of, 0)
        self.world.offered.add(new)
        self.go_on(looks)

    @rule(number=numbers, of=servables, looks=looks)
    def unpublish(self, number: int, of: str, looks: int) -> None:
        self.world.offered = {each for each in self.world.offered if (each.servable, each.number) != (of, number)}
        self.go_on(looks)

    @precondition(lambda self: self.world.breaks)
    @rule(data=st.data(), looks=looks)
    def mend(self, data: st.DataObject, looks: int) -> None:
        del self.world.breaks[data.draw(st.sampled_from(sorted(self.world.breaks)))]
        self.go_on(looks)

    @rule(policy=st.one_of(st.none(), policies), of=servables, looks=looks)
    def configure(self, policy: Versions | None, of: str, looks: int) -> None:
        others = {name: each for name, each in self.world.policies.items() if name != of}
        self.world.policies = {**others, of: policy} if policy else others
        self.go_on(looks)

    @rule(number=st.one_of(st.none(), numbers), of=servables, looks=looks)
    def pin(self, number: int | None, of: str, looks: int) -> None:
        self.world.store.pin(of, number)
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

    @rule(indices=st.sampled_from([(0,), (1,), (0, 1)]), of=st.sets(servables), looks=looks)
    def poll_or_restart_gateways(self, indices: tuple[int, ...], of: set[str], looks: int) -> None:
        """Of the servables that are not named, if any is, a call of an old version holds on."""
        for index in indices:
            self.world.poll(index, *of)
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
        for of in (SERVABLE, OTHER):
            for each in reversed(self.world.store.history(of, 10_000)):
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
        before = self.world.store.routes().versions
        self.run(self.world.settle())
        for of in (SERVABLE, OTHER):
            self.ends_as_wanted(of, before.get(of))
        self.run(self.world.keeper.close())

    def ends_as_wanted(self, of: str, before: Key | None) -> None:
        world, routed = self.world, self.world.store.routes().versions.get(of)
        memory = {each for each in world.memory if each.servable == of}
        if of not in world.policies:
            assert routed is None
            assert not memory
            return
        working = [each for each in world.offered if each.servable == of and each not in world.breaks]
        best = self.chosen(of, sorted(working, reverse=True))
        if not best:
            assert routed == before or (routed and routed.number == world.store.pins().get(of))
            return
        assert routed == best[0]
        others = memory - set(best) - set(world.breaks)  # those are being tried again
        assert set(best) <= memory
        assert len(others) <= world.policies[of].keep
        assert others <= world.offered

    def chosen(self, of: str, working: list[Key]) -> list[Key]:
        policy, pin = self.world.policies[of], self.world.store.pins().get(of)
        there = {life.key.number for life in self.world.store.lives()[of] if life.published or life.phase in IN_MEMORY}
        if pin in there:
            return [each for each in working if each.number == pin]
        if policy.only:
            return [each for each in working if each.number in policy.only]
        return working[: policy.newest]


Lives.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestLives = Lives.TestCase
