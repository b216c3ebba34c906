"""Versions come and go in a simulated world, with a real SQLite."""

from pathlib import Path

import pytest

from rollouts.life import Phase
from tests.unit.rollouts.world import SERVABLE, World, key


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(f"sqlite:///{tmp_path / 'state.db'}")


def phases(world: World) -> dict[int, Phase]:
    return {life.key.number: life.phase for life in world.store.lives()[SERVABLE]}


async def test_a_version_is_brought_up_step_by_step_and_takes_over(world: World) -> None:
    world.offered = {key(1)}
    await world.settle()
    world.offered.add(key(2))
    await world.settle()
    assert phases(world) == {1: Phase.UNLOADED, 2: Phase.ROUTED}
    of_two = [each.after for each in reversed(world.store.history(SERVABLE)) if each.key == key(2)]
    assert of_two == list(Phase)[: list(Phase).index(Phase.DRAINING)]
    of_one = [each.after for each in reversed(world.store.history(SERVABLE)) if each.key == key(1)]
    assert of_one[-4:] == [Phase.ROUTED, Phase.DRAINING, Phase.UNLOADING, Phase.UNLOADED]
    assert set(world.memory) == {key(2)}
