"""Whatever happens in whatever order, it ends as wanted; nothing cold is routed, nothing in use is freed."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from configs.errors import ModelError
from configs.versions import Versions
from rollouts.life import MOVES, Key, Phase
from rollouts.plan import Verb
from tests.unit.rollouts.world import SERVABLE, World, key

T = TypeVar("T")

numbers = st.integers(1, 4)
policies = st.sampled_from(
    [Versions(), Versions(latest=2), Versions(all=True), Versions(only=[1, 3]), Versions(keep=1), Versions(keep=2)]
)
broken_at = st.one_of(st.none(), st.sampled_from([verb for verb in Verb if verb is not Verb.UNLOAD]))


class Lives(RuleBasedStateMachine):
    """Publishers, operators, crashes, gateways and time act on one servable."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.loop = asyncio.new_event_loop()
        self.world = World(f"sqlite:///{self.folder}/state.db")
        self.known: set[Key] = set()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    # Those who publish and operate.

    @rule(number=numbers, digest=st.sampled_from("ab"), breaks=broken_at)
    def publish(self, number: int, digest: str, breaks: Verb | None) -> None:
        new = key(number, digest)
        if new not in self.known and breaks:
            self.world.breaks[new] = breaks
        self.known.add(new)
        self.unpublish(number)
        self.world.offered.add(new)

    @rule(number=numbers)
    def unpublish(self, number: int) -> None:
        self.world.offered = {each for each in self.world.offered if each.number != number}

    @precondition(lambda self: self.world.breaks)
    @rule(data=st.data())
    def mend(self, data: st.DataObject) -> None:
        del self.world.breaks[data.draw(st.sampled_from(sorted(self.world.breaks)))]

    @rule(policy=policies)
    def configure(self, policy: Versions) -> None:
        self.world.policies = {SERVABLE: policy}

    @rule()
    def remove_from_configuration(self) -> None:
        self.world.policies = {}

    @rule(number=st.one_of(st.none(), numbers))
    def pin(self, number: int | None) -> None:
        self.world.store.pin(SERVABLE, number)

    # Control and the work that it started.

    @rule()
    def reconcile(self) -> None:
        self.run(self.world.reconcile())

    @rule()
    def reconcile_without_source(self) -> None:
        self.run(self.world.reconcile(published={}))

    @precondition(lambda self: self.world.pending)
    @rule(data=st.data(), works=st.sampled_from([True, True, True, False]))
    def finish(self, data: st.DataObject, works: bool) -> None:
        self.run(self.world.finish(data.draw(st.sampled_from(sorted(self.world.pending))), works))

    @rule()
    def kill_control(self) -> None:
        self.run(self.world.kill_control())

    @precondition(lambda self: self.world.pending)
    @rule(data=st.data())
    def kill_control_before_it_records(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(sorted(self.world.pending)))
        with suppress(ModelError):  # nor is a failure recorded
            self.world.take_effect(self.world.pending[done][0], done)
        self.kill_control()

    # Gateways, processes, time.

    @rule(index=st.integers(0, 1))
    def poll_or_restart_gateway(self, index: int) -> None:
        self.world.poll(index)

    @precondition(lambda self: self.world.memory)
    @rule(data=st.data())
    def lose_processes(self, data: st.DataObject) -> None:
        del self.world.memory[data.draw(st.sampled_from(sorted(self.world.memory)))]

    @rule()
    def restart_cluster(self) -> None:
        self.world.restart_cluster()

    @rule(seconds=st.sampled_from([0.1, 2, 400]))
    def pass_time(self, seconds: float) -> None:
        self.world.now += seconds

    # What always holds. `World` checks what is routed and what is freed.

    @invariant()
    def only_moves_that_there_are(self) -> None:
        phases: dict[Key, Phase] = {}
        for each in reversed(self.world.store.history(SERVABLE, 10_000)):
            assert each.before == phases.get(each.key)
            assert each.before is None or each.after in MOVES[each.before]
            phases[each.key] = each.after

    def teardown(self) -> None:
        self.run(self.world.reconcile())
        before = self.world.store.routes().versions.get(SERVABLE)
        self.run(self.world.settle())
        self.ends_as_wanted(before)
        self.run(self.world.keeper.close())
        self.world.store.close()
        self.loop.close()
        shutil.rmtree(self.folder)

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


Lives.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestLives = Lives.TestCase
