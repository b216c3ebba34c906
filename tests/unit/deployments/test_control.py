"""Control with its real state, and gateways that follow it: versions come, go, fail; anything may be killed."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError
from ray.serve.schema import ApplicationStatus

from configs.errors import ModelError, NotAnswered
from configs.graph import GraphConfig
from configs.serve import AppArgs
from configs.versions import Versions
from deployments import control, follower, gateways, last_good, stages
from deployments.catalogue import Catalogue, Served, catalogue
from deployments.control import Control
from deployments.follower import Follower
from deployments.stage import version_of
from deployments.state import default_state_url
from graphs.check import check_graph
from graphs.slot import Occupant, Slot
from rollouts.life import Key
from rollouts.store import StateStore
from servables.sources.base import Published
from servables.sources.folder import Folder
from tests.unit.deployments.fake_serve import OWNER, FakeServe

GRAPH = {
    "name": "g",
    "inputs": {"x": "FP32[-1, 2]"},
    "nodes": {
        "here": {"model": "models/here", "inputs": {"x": "x"}},
        "there": {"model": "models/there", "inputs": {"x": "here.y"}, "isolate": True},
    },
    "outputs": {"y": "there.y"},
}
HERE, THERE = "g.here", "g.there"


class Collected(Control):
    """Python would call `__del__` once more, and nobody would await it."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


class Gateway:
    """A gateway whose versions are numbers: what it calls at the moment, and what it has in memory."""

    def __init__(self, world: "World", name: str, of: Catalogue) -> None:
        self.world, self.servables, self.memory = world, set(of.served), list[Key]()
        self.slots: dict[str, Slot[Key]] = {}
        self.follower: Follower[Key] = Follower(world.handle, name, of.configuration, self)  # type: ignore[arg-type]

    async def start(self) -> "Gateway":
        self.slots = {name: Slot(key) for name, key in (await self.follower.first()).items()}
        self.follower.serve()
        return self

    def uses(self) -> dict[str, int]:
        return {name: slot.content.number for name, slot in self.slots.items()}

    async def load(self, key: Key) -> Key:
        await asyncio.sleep(0)
        if key.number in self.world.broken:
            raise ModelError(f"version {key.number} is broken")
        self.memory.append(key)
        return key

    async def warm_up(self, version: Key) -> None:
        assert version in self.memory

    def check(self, servable: str, version: Key) -> None:
        if version.number in self.world.misfits:
            raise ModelError(f"version {version.number} does not fit")

    def use(self, servable: str, version: Key) -> Occupant:
        assert version in self.memory
        return self.slots[servable].put(version)

    async def free(self, version: Key) -> None:
        self.memory.remove(version)


class World:
    """A folder of models, a Serve, a control that can be killed, and gateways."""

    def __init__(self, root: Path) -> None:
        self.root, self.serve = root, FakeServe()
        self.broken, self.misfits = set[int](), set[int]()
        self.gateways: dict[str, Gateway] = {}
        self.control: Control | None = None
        self.before: list[Control] = []
        """Controls that others have replaced, and that are still asked."""
        self.handle = SimpleNamespace(
            watch=SimpleNamespace(remote=lambda report, seen: self._ask("watch", report, seen)),
            tell=SimpleNamespace(remote=lambda report: self._ask("tell", report)),
        )
        for model in ("here", "there"):
            self.publish(model, 1)
        self.catalogue = self.catalogue_of()

    def catalogue_of(self, **args: Any) -> Catalogue:
        flat = check_graph(GraphConfig.model_validate(GRAPH), self.root).flat
        return catalogue([flat], self.root, AppArgs(graphs=["g.yaml"], **args))  # type: ignore[call-arg]

    def publish(self, model: str, number: int) -> None:
        folder = self.root / "models" / model / str(number)
        folder.mkdir(parents=True)
        (folder / "signature.json").write_text('{"module": "tests.support.nodes:Add"}')

    async def _ask(self, method: str, *arguments: Any) -> Any:
        controls = [*self.before, *([self.control] if self.control else [])]
        if not controls:
            raise ActorDiedError
        return await getattr(random.choice(controls), method)(*arguments)

    async def start_control(self, of: Catalogue | None = None) -> None:
        fresh = Collected.__new__(Collected)  # as Serve does: `__init__` is a coroutine
        await fresh.__init__(of or self.catalogue, None, self.root, {})  # type: ignore[misc]
        self.control = fresh

    async def kill_control(self) -> None:
        if self.control is not None:
            dying, self.control = self.control, None
            await Control.__del__(dying)

    async def start_gateway(self, name: str, of: Catalogue | None = None) -> Gateway:
        self.gateways[name] = gateway = Gateway(self, name, of or self.catalogue)
        await asyncio.wait_for(gateway.start(), 60)
        self.serve.gateways = len(self.gateways)
        return gateway

    async def kill_gateway(self, name: str) -> None:
        await self.gateways.pop(name).follower.close()
        self.serve.gateways = len(self.gateways)

    def staged(self) -> set[int]:
        keys = [version_of(OWNER, name) for name in self.serve.applications]
        return {key.number for key in keys if key is not None}

    def store(self) -> StateStore:
        return StateStore(default_state_url(self.root, OWNER))


@asynccontextmanager
async def started(root: Path) -> AsyncIterator[World]:
    world = World(root)
    try:
        yield world
    finally:
        for name in list(world.gateways):
            await world.kill_gateway(name)
        await world.kill_control()


@pytest.fixture(autouse=True)
def log_level() -> Iterator[None]:
    """A control sets it for its process; other tests say a lot at a low one."""
    before = control.logger.level
    yield
    control.logger.setLevel(before)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servables.versions.QUIET_S", 0)
    monkeypatch.setattr(stages, "POLL_S", 0.001)
    monkeypatch.setattr(control, "POLL_S", 0.02)
    monkeypatch.setattr(control, "WATCH_S", 0.05)
    monkeypatch.setattr(follower, "AGAIN_S", 0.01)
    monkeypatch.setattr(gateways, "SILENT_S", 0.2)
    monkeypatch.setattr(gateways, "OTHERS_S", 0.01)
    monkeypatch.setattr(last_good, "_deployed", lambda name: None)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(namespace="serve"))


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with started(tmp_path) as world:
        monkeypatch.setattr(control, "serve", world.serve)
        monkeypatch.setattr(stages, "serve", world.serve)
        monkeypatch.setattr(control, "_lives", lambda name, namespace: name in world.gateways)
        yield world


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_gateways_start_with_the_newest_versions_and_follow_to_newer_ones(world: World) -> None:
    await world.start_control()
    one, two = await asyncio.gather(world.start_gateway("one"), world.start_gateway("two"))
    assert one.uses() == two.uses() == {HERE: 1, THERE: 1}
    world.publish("here", 2)
    world.publish("there", 5)
    await until(lambda: one.uses() == two.uses() == {HERE: 2, THERE: 5})
    await until(lambda: world.staged() == {5} and {key.number for key in one.memory} == {2, 5})


async def test_the_traffic_follows_an_alias(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    aliases, published = {"champion": 1}, Folder.published

    def with_aliases(folder: Folder, *arguments: Any) -> Published:
        if "away" in aliases:
            raise ModelError("the registry is away")
        return replace(published(folder, *arguments), aliases=dict(aliases))

    monkeypatch.setattr(Folder, "published", with_aliases)
    monkeypatch.setattr(Served, "policy", Versions(alias="champion"))  # type: ignore[call-arg]
    for number in (2, 3):
        world.publish("here", number)
        world.publish("there", number)
    await world.start_control()
    one = await world.start_gateway("one")
    assert one.uses() == {HERE: 1, THERE: 1}
    aliases["champion"] = 2
    await until(lambda: one.uses() == {HERE: 2, THERE: 2} and world.staged() == {2})
    for nothing_changes in ({}, {"champion": 2, "away": 1}, {"champion": 9}):
        aliases.clear()
        aliases.update(nothing_changes)
        await world.kill_control()
        await world.start_control()
        await asyncio.sleep(0.2)
        assert one.uses() == {HERE: 2, THERE: 2}
        assert world.staged() == {2}
    aliases["champion"] = 1
    await until(lambda: one.uses() == {HERE: 1, THERE: 1} and world.staged() == {1})


async def test_an_old_version_is_kept_until_its_last_call_has_ended(world: World) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    with one.slots[THERE].used(), one.slots[HERE].used():
        world.publish("here", 2)
        world.publish("there", 2)
        await until(lambda: one.uses() == {HERE: 2, THERE: 2})
        await asyncio.sleep(0.3)
        assert world.staged() == {1, 2}
        assert sorted(key.number for key in one.memory) == [1, 1, 2, 2]
    await until(lambda: world.staged() == {2} and len(one.memory) == 2)


async def test_a_call_that_does_not_end_keeps_no_other_servables_old_version(world: World) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    with one.slots[HERE].used():
        world.publish("here", 2)
        world.publish("there", 2)
        await until(lambda: one.uses() == {HERE: 2, THERE: 2} and world.staged() == {2})
        assert sorted(key.number for key in one.memory if key.servable == HERE) == [1, 2]


@pytest.mark.parametrize("how", ["broken", "misfits"])
async def test_a_bad_version_gets_no_traffic_and_a_good_one_after_it_does(world: World, how: str) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    getattr(world, how).add(2)
    world.publish("here", 2)
    store = world.store()

    def failed() -> bool:
        return any(life.failures for life in store.lives()[HERE])

    await until(failed)
    assert one.uses()[HERE] == 1
    assert (HERE, "1", "READY", "") in one.follower.standing()
    assert all(each.state != "READY" for each in one.follower.standing() if each.version == "2")
    world.publish("here", 3)
    await until(lambda: one.uses()[HERE] == 3)
    assert {key.number for key in one.memory if key.servable == HERE} <= {1, 2, 3}
    store.close()


async def test_a_gateway_that_cannot_have_a_version_says_why(world: World) -> None:
    world.broken.add(1)
    await world.start_control()
    with pytest.raises(ModelError, match="version 1 is broken"):
        await world.start_gateway("one")


async def test_a_registry_whose_first_answer_takes_long_fails_no_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, late = Folder.published, [True]

    def slow(folder: Folder, *arguments: Any) -> Published:
        if late:
            raise NotAnswered("the registry has not answered yet")
        return published(folder, *arguments)

    monkeypatch.setattr(Folder, "published", slow)
    await world.start_control()
    starting = asyncio.create_task(world.start_gateway("one"))
    await asyncio.sleep(0.3)
    assert not starting.done()
    late.clear()
    assert (await starting).uses() == {HERE: 1, THERE: 1}


async def test_an_older_version_serves_where_the_newest_is_broken_from_the_start(world: World) -> None:
    world.publish("here", 2)
    world.broken.add(2)
    await world.start_control()
    assert (await world.start_gateway("one")).uses() == {HERE: 1, THERE: 1}


async def test_a_control_that_starts_again_changes_nothing(world: World) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    before, deployed = list(one.memory), list(world.serve.deployed)
    for _ in range(3):
        await world.kill_control()
        await world.start_control()
        await asyncio.sleep(0.1)
    assert one.memory == before
    assert world.serve.deployed == deployed
    world.publish("here", 2)
    await until(lambda: one.uses()[HERE] == 2)


async def test_gateways_that_come_later_or_die_hold_nobody_up(world: World) -> None:
    await world.start_control()
    await world.start_gateway("one")
    two = await world.start_gateway("two")
    await world.kill_gateway("one")
    world.publish("here", 2)
    world.publish("there", 2)
    await until(lambda: two.uses() == {HERE: 2, THERE: 2} and world.staged() == {2})
    three = await world.start_gateway("three")
    assert three.uses() == {HERE: 2, THERE: 2}


async def test_everything_comes_back_after_all_gateways_died(world: World) -> None:
    await world.start_control()
    await world.start_gateway("one")
    await world.kill_gateway("one")
    await asyncio.sleep(0.5)
    assert (await world.start_gateway("two")).uses() == {HERE: 1, THERE: 1}


async def test_an_update_takes_nothing_from_gateways_of_the_configuration_before(world: World) -> None:
    await world.start_control()
    old = await world.start_gateway("old")
    stage = set(world.serve.applications)
    changed = world.catalogue_of(revision="2")
    before = world.control
    await world.start_control(changed)
    new = await world.start_gateway("new", changed)
    await asyncio.sleep(0.3)
    assert new.uses() == old.uses() == {HERE: 1, THERE: 1}
    assert new.slots[THERE].content != old.slots[THERE].content
    assert set(world.serve.applications) > stage
    await world.kill_gateway("old")
    await until(lambda: not (stage - {OWNER}) & set(world.serve.applications))
    assert before is not None
    await Control.__del__(before)


async def test_new_gateways_do_not_make_do_with_stages_of_the_configuration_before(world: World) -> None:
    await world.start_control()
    old = await world.start_gateway("old")
    before, changed = world.control, world.catalogue_of(revision="2")
    world.serve.becomes, world.serve.message = ApplicationStatus.DEPLOY_FAILED, "ModelError: no such file"
    await world.start_control(changed)
    with pytest.raises(ModelError, match="no such file"):
        await world.start_gateway("new", changed)
    assert old.uses() == {HERE: 1, THERE: 1}
    assert before is not None
    await Control.__del__(before)
    await world.gateways["new"].follower.close()


@pytest.mark.parametrize("stuck", [False, True])
async def test_stages_outlive_their_application_for_gateways_that_drain(
    world: World, stuck: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "GONE_POLL_S", 0.01)
    monkeypatch.setattr(control, "GATEWAYS_GO_S", 0.3 if stuck else 60)
    await world.start_control()
    await world.start_gateway("one")
    world.serve.put(OWNER, ApplicationStatus.DELETING)
    assert world.control is not None
    ending, world.control = asyncio.create_task(Control.__del__(world.control)), None
    await asyncio.sleep(0.1)
    assert world.staged() == {1}
    if not stuck:
        await world.kill_gateway("one")
    await ending
    assert world.staged() == set()


async def test_of_two_controls_gateways_follow_the_newer_one(world: World) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    assert world.control is not None
    world.before = [world.control]
    await world.start_control()
    world.publish("here", 2)
    await until(lambda: one.uses()[HERE] == 2)
    for _ in range(50):
        await asyncio.sleep(0.01)
        assert one.uses()[HERE] == 2
    await Control.__del__(world.before.pop())


async def test_what_nobody_wants_any_more_is_given_up(world: World) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    world.serve.becomes = ApplicationStatus.DEPLOYING  # for ever: no machine has room for it
    world.publish("there", 2)
    await until(lambda: world.staged() == {1, 2})
    world.serve.becomes = ApplicationStatus.RUNNING
    world.publish("there", 3)
    await until(lambda: one.uses()[THERE] == 3 and world.staged() == {3})


async def test_a_stage_that_ends_is_brought_back(world: World) -> None:
    await world.start_control()
    await world.start_gateway("one")
    [stage] = set(world.serve.applications) - {OWNER}
    del world.serve.applications[stage]
    await until(lambda: stage in world.serve.applications)


async def test_versions_change_while_control_is_killed_again_and_again(world: World) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    for number in range(2, 8):
        if number % 3 == 0:
            world.broken.add(number)
        world.publish("here", number)
        world.publish("there", number)
        await asyncio.sleep(0.05)
        await world.kill_control()
        await world.start_control()
    await until(lambda: one.uses() == {HERE: 7, THERE: 7})
    await until(lambda: world.staged() == {7} and len(one.memory) == 2)


async def test_the_state_goes_on_where_its_file_was_lost(world: World) -> None:
    await world.start_control()
    one = await world.start_gateway("one")
    world.publish("here", 2)
    await until(lambda: one.uses()[HERE] == 2)
    await world.kill_control()
    for path in (world.root / ".millrace").iterdir():
        path.unlink()
    await world.start_control()
    world.publish("here", 3)
    await until(lambda: one.uses() == {HERE: 3, THERE: 1} and len(one.memory) == 2)


def test_a_catalogue_knows_its_configuration(world: World) -> None:
    same, other = world.catalogue_of(), world.catalogue_of(revision="2")
    assert world.catalogue.configuration == same.configuration != other.configuration
    assert replace(same, configuration="") != same
