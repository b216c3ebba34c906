"""Versions come and go in a simulated world; what happens in any order is in `test_any_order.py`."""

import logging
from pathlib import Path

import pytest

from configs.errors import Unavailable
from configs.versions import Versions
from rollouts.keeper import AT_ONCE
from rollouts.life import Key, Phase
from rollouts.plan import Verb
from rollouts.store import StateStore
from tests.unit.rollouts.world import OTHER, SERVABLE, World, key

BRING_UP = [verb for verb in Verb if verb is not Verb.UNLOAD]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(StateStore(f"sqlite:///{tmp_path / 'state.db'}"))


def phases(world: World) -> dict[int, Phase]:
    return {life.key.number: life.phase for life in world.store.lives()[SERVABLE]}


def story(world: World, of: Key) -> list[Phase]:
    return [each.after for each in reversed(world.store.history(SERVABLE)) if each.key == of]


async def test_a_version_is_brought_up_step_by_step_and_takes_over(world: World) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.offered.add(key(2))
    await world.settle()
    assert phases(world) == {1: Phase.UNLOADED, 2: Phase.ROUTED}
    up = list(Phase)[: list(Phase).index(Phase.DRAINING)]
    assert story(world, key(2)) == up
    assert story(world, key(1)) == [*up, Phase.DRAINING, Phase.UNLOADING, Phase.UNLOADED]
    assert set(world.memory) == {key(2)}


async def test_the_old_one_is_freed_after_the_last_gateway_has_left_it(world: World) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.offered.add(key(2))
    while world.routed() != 2:
        await world.reconcile()
        for each in list(world.pending):
            await world.finish(each)
    world.poll(0)
    await world.reconcile()
    assert phases(world)[1] is Phase.DRAINING
    world.poll(1)
    await world.reconcile()
    assert world.pending[key(1)][0] is Verb.UNLOAD


async def test_a_call_that_does_not_end_keeps_the_old_versions_of_its_own_servable_alone(world: World) -> None:
    world.policies[OTHER] = Versions()
    world.offered = {key(1), key(1, servable=OTHER)}
    await world.settle()
    world.offered |= {key(2), key(2, servable=OTHER)}
    while (world.routed(), world.routed(OTHER)) != (2, 2) or key(1, servable=OTHER) in world.memory:
        await world.reconcile()
        for each in list(world.pending):
            await world.finish(each)
        world.poll(0, OTHER)
        world.poll(1)
    assert set(world.memory) == {key(1), key(2), key(2, servable=OTHER)}
    world.poll(0)
    await world.settle()
    assert set(world.memory) == {key(2), key(2, servable=OTHER)}


@pytest.mark.parametrize("step", BRING_UP)
async def test_a_broken_version_never_displaces_the_one_that_serves(
    world: World, step: Verb, caplog: pytest.LogCaptureFixture
) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.offered.add(key(2))
    world.breaks[key(2)] = step
    with caplog.at_level(logging.WARNING):
        while story(world, key(2)).count(Phase.FAILED) < 3:
            await world.look()
    assert world.routed() == 1
    assert set(world.memory) == {key(1)}
    assert world.store.life(key(2)).reason == f"{step}: digits.cnn version 2 is broken"
    assert f"{step}: digits.cnn version 2 is broken" in caplog.text
    del world.breaks[key(2)]
    await world.settle()
    assert world.routed() == 2


async def test_what_fails_is_not_freed_while_a_gateway_still_uses_it(world: World) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.offered = {key(2)}
    while world.routed() != 2:
        await world.reconcile()
        for each in list(world.pending):
            await world.finish(each)
    del world.memory[key(1)]  # its process ends, and no gateway has heard of version 2
    world.offered = {key(1)}
    world.breaks[key(1)] = Verb.CHECK
    while not world.store.life(key(1)).failures:
        await world.reconcile()
        for each in list(world.pending):
            await world.finish(each)
    assert key(1) in world.memory
    del world.breaks[key(1)]
    await world.settle()
    assert (world.routed(), set(world.memory)) == (1, {key(1)})


async def test_it_is_tried_again_when_it_is_due(world: World) -> None:
    world.offered = {key(1)}
    world.breaks[key(1)] = Verb.FETCH
    await world.reconcile()
    await world.finish(key(1))
    assert await world.reconcile() == world.now + 0.75  # half to all of 1 s; the world's chance is 0.5
    assert not world.pending
    world.now += 0.75
    await world.reconcile()
    assert world.pending[key(1)][0] is Verb.FETCH


async def test_any_reason_can_be_recorded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(verb: Verb, key: Key) -> None:
        raise OSError("a\udcffb\0c")  # as the name of a file

    world = World(StateStore(url))
    monkeypatch.setattr(world, "do", refuse)
    world.offered = {key(1)}
    while not await world.reconcile() < float("inf"):
        await world.keeper.changed.wait()
    assert world.store.life(key(1)).reason == "fetch: OSError: a?b?c"
    world.store.close()


async def test_a_rollback_to_a_kept_version_loads_nothing(world: World) -> None:
    world.policies = {SERVABLE: Versions(keep=1)}
    for number in (1, 2, 3):
        world.offered.add(key(number))
        await world.settle()
    assert set(world.memory) == {key(2), key(3)}
    world.store.pin(SERVABLE, 2)
    await world.reconcile()
    assert world.routed() == 2
    assert not world.pending
    world.store.pin(SERVABLE, None)
    await world.reconcile()
    assert world.routed() == 3


async def test_what_is_taken_out_is_not_kept_for_a_rollback(world: World) -> None:
    world.policies = {SERVABLE: Versions(keep=2)}
    for number in (1, 2, 3):
        world.offered.add(key(number))
        await world.settle()
    assert set(world.memory) == {key(1), key(2), key(3)}
    world.store.take_out(SERVABLE, 2)
    await world.settle()
    assert (world.routed(), set(world.memory)) == (3, {key(1), key(3)})


async def test_what_waits_to_be_tried_again_is_taken_out_for_good(world: World) -> None:
    world.offered = {key(1), key(2)}
    world.breaks[key(2)] = Verb.LOAD
    await world.settle()
    world.store.take_out(SERVABLE, 2)
    await world.settle()
    del world.breaks[key(2)]
    await world.settle()
    assert (world.routed(), set(world.memory)) == (1, {key(1)})


async def test_what_serves_goes_on_when_its_source_has_nothing_left_or_is_away(world: World) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.offered = set()
    await world.settle()
    assert (world.routed(), set(world.memory)) == (1, {key(1)})
    await world.reconcile(published={})
    assert not world.pending


async def test_what_is_withdrawn_makes_way_for_the_one_before(world: World) -> None:
    world.offered = {key(1), key(2)}
    await world.settle()
    world.offered = {key(1)}
    await world.settle()
    assert (world.routed(), set(world.memory)) == (1, {key(1)})


async def test_other_content_under_the_same_number_is_another_version(world: World) -> None:
    world.offered = {key(1, "a")}
    await world.settle()
    world.offered = {key(1, "b")}
    await world.settle()
    assert world.store.routes().versions[SERVABLE] == key(1, "b")
    assert set(world.memory) == {key(1, "b")}


async def test_a_servable_that_is_no_longer_configured_goes(world: World) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.policies = {}
    await world.settle()
    assert world.routed() is None
    assert not world.memory


async def test_the_same_version_is_there_after_the_cluster_restarted(world: World) -> None:
    world.offered = {key(1), key(2)}
    world.breaks[key(2)] = Verb.LOAD
    await world.settle()
    await world.kill_control()
    world.restart_cluster()
    await world.settle()
    assert (world.routed(), set(world.memory)) == (1, {key(1)})
    assert story(world, key(1)).count(Phase.ROUTED) == 2


async def test_a_lost_database_disturbs_nothing_that_is_wanted(world: World, tmp_path: Path) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.offered = {key(1), key(2)}
    world.store = StateStore(f"sqlite:///{tmp_path / 'new.db'}")
    await world.kill_control()
    serving = world.gateways[0][SERVABLE]
    world.now += 1
    await world.settle()  # `World` sees to it that version 1 is not freed while gateways use it
    assert (world.routed(), set(world.memory)) == (2, {key(2)})
    assert world.store.routes().revision > serving.revision


@pytest.mark.parametrize("recorded", [True, False])
async def test_control_is_killed_at_every_transition(world: World, tmp_path: Path, recorded: bool) -> None:
    async def walk() -> None:
        """From what is to the end; control dies after each work, before or after it recorded what came of it."""
        while True:
            await world.reconcile()
            world.poll(0)
            world.poll(1)
            if not world.pending:
                await world.reconcile()
            if not world.pending:
                return
            [(each, (verb, _))] = world.pending.items()
            if recorded:
                await world.finish(each)
            elif (verb, each) not in done:
                done.add((verb, each))
                world.take_effect(verb, each)
            else:
                await world.finish(each)
                continue
            await world.kill_control()

    done: set[tuple[Verb, Key]] = set()
    world.offered = {key(1)}
    await walk()
    world.offered = {key(1), key(2)}
    await walk()
    assert phases(world) == {1: Phase.UNLOADED, 2: Phase.ROUTED}
    assert set(world.memory) == {key(2)}
    again = StateStore(f"sqlite:///{tmp_path / 'state.db'}")
    assert again.routes() == world.store.routes()
    again.close()


async def test_several_are_brought_up_at_a_time_the_newest_first(world: World) -> None:
    world.policies = {SERVABLE: Versions(all=True)}
    world.offered = {key(number) for number in range(1, 9)}
    await world.reconcile()
    assert sorted(each.number for each in world.pending) == list(range(9 - AT_ONCE, 9))
    await world.settle()
    assert world.routed() == 8
    assert set(world.memory) == world.offered


async def test_a_database_that_is_away_costs_a_repetition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise Unavailable("away")

    world.offered = {key(1)}
    await world.reconcile()
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "save", away)
        await world.finish(key(1))
        assert world.keeper.changed.is_set()
    await world.reconcile()
    assert world.pending[key(1)][0] is Verb.FETCH
