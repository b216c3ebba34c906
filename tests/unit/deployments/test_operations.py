"""Operators see and steer versions: over the real state in SQLite, and a world whose keeper acts on it."""

import asyncio
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from configs.errors import MillraceError, NotFound, Refused, Unauthorized, Unavailable
from configs.places import TOKEN_FILE, TOKEN_VARIABLE
from configs.versions import Versions
from deployments import version_metrics
from deployments.operations import Action, Operation, Operations, ServableStatus, TransitionStatus
from deployments.operators import Operator, admin_token
from deployments.version_metrics import VersionMetrics
from rollouts.plan import Verb
from rollouts.store import StateStore
from tests.unit.deployments.test_recorder import Metrics
from tests.unit.rollouts.world import CHECKED, SERVABLE, World, key

FOREVER = {SERVABLE: 1 << 62}


class Shop(World):
    """A world with an operator."""

    def __init__(self, store: StateStore) -> None:
        super().__init__(store)
        self.operations = Operations(store, self.policies)

    def ask(self, action: Action, version: int | None = None, servable: str = SERVABLE) -> ServableStatus:
        [status] = self.operations.carry_out(Operation(action, servable, version), FOREVER)
        assert isinstance(status, ServableStatus)
        return status

    def at_hand(self) -> set[int]:
        return {key.number for key in self.memory}


@pytest.fixture(scope="module")
def third_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state in which version 3 has the traffic, and 2 and 1 had it before."""
    path = tmp_path_factory.mktemp("state") / "state.db"

    async def live() -> None:
        world = World(StateStore(f"sqlite:///{path}"))
        for number in (1, 2, 3):
            world.offered.add(key(number))
            await world.settle()

    asyncio.run(live())
    return path


@pytest.fixture
def shop(third_of_three: Path, tmp_path: Path) -> Shop:
    shop = Shop(StateStore(f"sqlite:///{shutil.copy(third_of_three, tmp_path)}"))
    shop.offered = {key(1), key(2), key(3)}
    shop.memory = {key(3): CHECKED}
    shop.poll(0)
    shop.poll(1)
    return shop


async def test_a_servable_with_its_versions(shop: Shop) -> None:
    shop.offered.add(key(4))
    shop.breaks[key(4)] = Verb.LOAD
    await shop.settle()
    status = shop.ask(Action.LIST)
    assert (status.servable, status.policy, status.version, status.wanted) == (SERVABLE, "latest 1", 3, 3)
    newest, third, *older = status.versions
    assert (newest.version, newest.has_traffic, newest.failures > 0) == (4, False, True)
    assert "load: digits.cnn version 4 is broken" in newest.reason
    assert (third.version, third.phase, third.has_traffic, third.acknowledged) == (3, "routed", True, True)
    assert [(each.version, each.phase) for each in older] == [(2, "unloaded"), (1, "unloaded")]
    revision = shop.store.life(key(3)).revision
    [early] = shop.operations.carry_out(Operation(Action.LIST), {SERVABLE: revision - 1})
    assert isinstance(early, ServableStatus)
    assert [each.acknowledged for each in early.versions if each.has_traffic] == [False]


async def test_what_its_source_no_longer_has_is_not_shown_once_it_is_gone(shop: Shop) -> None:
    shop.offered -= {key(1), key(3)}
    await shop.settle()
    assert [each.version for each in shop.ask(Action.LIST).versions] == [2]
    with pytest.raises(NotFound, match=r"digits.cnn has no version 3; published or in memory: 2 "):
        shop.ask(Action.LOAD, 3)


async def test_the_time_of_the_last_change(shop: Shop) -> None:
    shop.now = 5_000.0
    shop.ask(Action.LOAD, 1)
    await shop.settle()
    changed = {each.version: each.changed_at for each in shop.ask(Action.LIST).versions}
    assert changed == {3: 5_000.0, 2: 1_000.0, 1: 5_000.0}


async def test_load_pins_until_the_policy_is_asked_again(shop: Shop) -> None:
    status = shop.ask(Action.LOAD, 1)
    assert (status.version, status.wanted, status.pinned) == (3, 1, 1)
    await shop.settle()
    shop.offered.add(key(4))
    await shop.settle()
    assert (shop.routed(), shop.at_hand()) == (1, {1})
    assert shop.ask(Action.LOAD).pinned is None
    await shop.settle()
    assert shop.routed() == 4


async def test_a_rollback_goes_to_the_version_before_and_a_second_one_comes_back(shop: Shop) -> None:
    for leave, number in ((3, 2), (2, 3)):
        assert shop.ask(Action.ROLLBACK, leave).wanted == number
        await shop.settle()
        assert shop.routed() == number


async def test_a_rollback_that_is_asked_for_again_changes_nothing(shop: Shop) -> None:
    for settled in (False, False, True, True):
        assert shop.ask(Action.ROLLBACK, 3).wanted == 2
        if settled:
            await shop.settle()
    assert (shop.routed(), shop.store.pins()) == (2, {SERVABLE: 2})
    with pytest.raises(NotFound, match=r"digits.cnn never had a version 9 that could be left"):
        shop.ask(Action.ROLLBACK, 9)


async def test_a_rollback_passes_over_what_is_taken_out_or_gone_from_its_source(shop: Shop) -> None:
    shop.ask(Action.UNLOAD, 2)
    assert shop.ask(Action.ROLLBACK, 3).wanted == 1
    await shop.settle()
    shop.offered -= {key(2), key(3)}
    await shop.settle()
    with pytest.raises(Refused, match="no version that is still published and works had the traffic before this one"):
        shop.ask(Action.ROLLBACK, 1)


async def test_unload_takes_the_traffic_away_first(shop: Shop) -> None:
    status = shop.ask(Action.UNLOAD, 3)
    assert (status.version, status.wanted) == (3, 2)
    await shop.settle()
    assert (shop.routed(), shop.at_hand()) == (2, {2})
    assert [each.version for each in shop.ask(Action.LIST).versions if each.taken_out] == [3]
    shop.ask(Action.LOAD, 3)
    await shop.settle()
    assert (shop.routed(), shop.at_hand()) == (3, {3})


async def test_to_unload_without_a_version_takes_out_what_has_the_traffic_and_to_restore_undoes_all(shop: Shop) -> None:
    for left in (2, 1):
        assert shop.ask(Action.UNLOAD).wanted == left
        await shop.settle()
        assert (shop.routed(), shop.at_hand()) == (left, {left})
    with pytest.raises(Refused, match="version 1 has the traffic, and there is no other version"):
        shop.ask(Action.UNLOAD)
    shop.ask(Action.LOAD, 2)
    assert shop.ask(Action.RESTORE).wanted == 3
    await shop.settle()
    assert (shop.routed(), shop.store.pins(), shop.store.out()) == (3, {}, {})


async def test_where_nothing_has_the_traffic_there_is_nothing_to_unload(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"digits.cnn: no version has the traffic; name the one to unload"):
        Shop(StateStore(f"sqlite:///{tmp_path}/empty.db")).ask(Action.UNLOAD)


async def test_the_last_one_that_works_is_not_unloaded(shop: Shop) -> None:
    shop.breaks |= {key(1): Verb.LOAD, key(2): Verb.LOAD}
    shop.ask(Action.UNLOAD, 1)
    shop.ask(Action.LOAD, 2)
    await shop.settle()
    for _ in range(2):
        with pytest.raises(Refused, match="version 3 has the traffic, and there is no other version"):
            shop.ask(Action.UNLOAD, 3)
        shop.ask(Action.LOAD)
    assert shop.routed() == 3


async def test_a_broken_version_that_is_loaded_is_tried_at_once_and_displaces_nothing(shop: Shop) -> None:
    shop.breaks[key(1)] = Verb.CHECK
    shop.ask(Action.LOAD, 1)
    await shop.settle()
    assert (shop.routed(), shop.at_hand()) == (3, {3})
    del shop.breaks[key(1)]
    shop.now -= 3600.0
    assert shop.store.life(key(1)).retry_at > shop.now
    shop.ask(Action.LOAD, 1)
    assert shop.store.life(key(1)).retry_at == 0
    await shop.settle()
    assert shop.routed() == 1


async def test_a_load_that_cannot_be_recorded_records_nothing(shop: Shop) -> None:
    shop.breaks[key(1)] = Verb.LOAD
    shop.ask(Action.LOAD, 1)
    await shop.settle()
    shop.ask(Action.UNLOAD, 1)
    before = shop.store.life(key(1))
    assert before.retry_at > 0
    with shop.store._engine.begin() as connection:
        connection.execute(text("CREATE TRIGGER full BEFORE INSERT ON pins BEGIN SELECT RAISE(ABORT, 'full'); END"))
    with pytest.raises(Unavailable):
        shop.ask(Action.LOAD, 1)
    assert (shop.store.life(key(1)), shop.store.pins()) == (before, {})
    assert shop.store.out() == {SERVABLE: {1}}


async def test_the_history(shop: Shop) -> None:
    answer = shop.operations.carry_out(Operation(Action.HISTORY, SERVABLE, limit=3), {})
    assert all(isinstance(each, TransitionStatus) for each in answer)
    told = [(each.version, each.before, each.after) for each in answer if isinstance(each, TransitionStatus)]
    assert told == [(2, "unloading", "unloaded"), (2, "draining", "unloading"), (3, "ready", "routed")]


@pytest.mark.parametrize("action", Action)
async def test_a_servable_that_there_is_not(shop: Shop, action: Action) -> None:
    with pytest.raises(NotFound, match=r"there is no servable 'x'; this server has digits.cnn"):
        shop.ask(action, 1, "x")


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"all": True}, "all"),
        ({"only": [1, 3]}, "only 1, 3"),
        ({"latest": 2}, "latest 2"),
        ({"alias": "best"}, "alias best"),
    ],
)
async def test_the_policy_as_it_is_written(shop: Shop, policy: dict[str, Any], words: str) -> None:
    shop.policies[SERVABLE] = Versions(**policy)
    shop.operations = Operations(shop.store, shop.policies)
    shop.policies[SERVABLE] = Versions(only=[3])  # as control does where an alias names it
    assert shop.ask(Action.LIST).policy == words


async def test_only_who_has_the_token_changes_anything(shop: Shop, tmp_path: Path) -> None:
    wakes: list[int] = []
    operator = Operator(shop.store, shop.policies, tmp_path, lambda: wakes.append(1))
    token = (tmp_path / TOKEN_FILE).read_text().strip()
    for wrong in ("", "no", token[:-1], "ünïcode"):
        answer = await operator.answer(wrong, Operation(Action.LOAD, SERVABLE, 1), FOREVER)
        assert isinstance(answer, Unauthorized)
        assert token not in answer.message
        assert TOKEN_VARIABLE in answer.message
    assert (shop.store.pins(), wakes) == ({}, [])
    assert not isinstance(await operator.answer(token, Operation(Action.LIST), FOREVER), MillraceError)
    assert wakes == []
    await operator.answer(token, Operation(Action.LOAD, SERVABLE, 1), FOREVER)
    assert (shop.store.pins(), wakes) == ({SERVABLE: 1}, [1])


def test_the_token_is_made_once_and_for_the_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = admin_token(tmp_path)
    assert len(token) > 40
    assert admin_token(tmp_path) == token
    assert stat.S_IMODE(os.stat(tmp_path / TOKEN_FILE).st_mode) == 0o600
    assert [path.name for path in (tmp_path / ".millrace").iterdir()] == ["admin.token"]
    monkeypatch.setenv(TOKEN_VARIABLE, " mine ")
    assert admin_token(tmp_path) == "mine"


async def test_without_a_token_nobody_gets_in(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / ".millrace").write_text("in the way of the folder")
    operator = Operator(shop.store, shop.policies, tmp_path, lambda: None)
    assert isinstance(await operator.answer("", Operation(Action.LIST), FOREVER), Unauthorized)


async def test_transitions_are_counted_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    monkeypatch.setattr(version_metrics, "ray_metric", metrics.of)
    exported = VersionMetrics(shop.store)
    shop.offered.add(key(4))
    await shop.settle()
    exported.export()
    exported.export()
    counted = {labels[-1]: len(values) for labels, values in metrics.seen.items() if labels[0].endswith("transitions")}
    assert counted["discovered"] == counted["routed"] == counted["draining"] == counted["unloaded"] == 1
    assert metrics.seen["millrace_routed_version", SERVABLE] == [4, 4]
    metrics.broken = True
    exported.export()
