"""A world in which versions live: files, processes, gateways that poll, a control that can be killed at any point."""

import asyncio
from collections.abc import Collection, Mapping, Set
from itertools import chain, repeat
from typing import NamedTuple, cast

from configs.errors import ModelError
from configs.versions import Versions
from rollouts.keeper import Keeper
from rollouts.life import Key, Life
from rollouts.plan import Verb
from rollouts.store import StateStore
from tests.unit.rollouts.memory_store import MemoryStore

SERVABLE, OTHER = "digits.cnn", "digits.forest"
LOADED, WARM, CHECKED = "loaded", "warm", "checked"
QUIET = 8
"""Looks without a change after which none is to come; a broken version needs at most seven to fail again."""


def key(number: int, digest: str = "a", servable: str = SERVABLE) -> Key:
    return Key(servable, number, digest)


class Used(NamedTuple):
    """What a gateway uses of a servable, and since which revision of the routes nothing else of it."""

    revision: int = 0
    version: Key | None = None


class World:
    """What keepers have at hand. Each work waits until `finish` lets it take effect."""

    def __init__(self, store: StateStore | MemoryStore) -> None:
        self.now = 1_000.0
        self.offered: set[Key] = set()
        self.breaks: dict[Key, Verb] = {}
        """Version → the step that fails."""
        self.memory: dict[Key, str] = {}
        self.gateways: list[dict[str, Used]] = [{}, {}]
        """Of each: servable → what it uses."""
        self.wrong: list[str] = []
        """What must never happen, and did."""
        self.pending: dict[Key, tuple[Verb, asyncio.Future[bool]]] = {}
        self.policies: dict[str, Versions] = {SERVABLE: Versions()}
        """Of the servables that there are in the configuration."""
        self.store = store
        self.start_control()

    def start_control(self) -> None:
        self.keeper = Keeper(cast(StateStore, self.store), self, lambda: self.now, lambda: 0.5)

    # What a keeper asks for.

    async def up(self) -> Set[Key]:
        return frozenset(self.memory)

    def acknowledged(self, servable: str) -> int:
        return min(gateway.get(servable, Used()).revision for gateway in self.gateways)

    async def do(self, verb: Verb, key: Key) -> None:
        let = asyncio.get_running_loop().create_future()
        self.pending[key] = (verb, let)
        try:
            works = await let
        finally:
            self.pending.pop(key, None)
        if not works:
            raise ModelError(f"{key}: bad luck")
        self.take_effect(verb, key)

    def take_effect(self, verb: Verb, key: Key) -> None:
        if verb is Verb.UNLOAD:
            used = [gateway.get(key.servable, Used()).version for gateway in self.gateways]
            if key in self.memory and key in [*used, self.store.routes().versions.get(key.servable)]:
                self.wrong.append(f"{key} is freed, but used: {self.gateways}")  # raised, it would be one failure more
            self.memory.pop(key, None)
        elif self.breaks.get(key) is verb:
            raise ModelError(f"{key} is broken")
        elif verb is Verb.FETCH and key not in self.offered:
            raise ModelError(f"{key} is gone from its source")
        elif verb is Verb.LOAD:
            self.memory.setdefault(key, LOADED)
        elif verb in (Verb.WARM_UP, Verb.CHECK):
            if key not in self.memory:
                raise ModelError(f"{key} is gone from memory")
            self.memory[key] = CHECKED if verb is Verb.CHECK else WARM

    # What a test does.

    async def reconcile(self, published: Mapping[str, Collection[Key]] | None = None) -> float:
        """One look of the control; its new work then waits in `pending`."""
        offered = {name: [key for key in self.offered if key.servable == name] for name in self.policies}
        before = self._current()
        again = await self.keeper.reconcile(self.policies, offered if published is None else published)
        for routed, _ in self._current() - before:
            if self.memory.get(routed) != CHECKED or routed in self.breaks:
                self.wrong.append(f"{routed} is routed, but in memory it is {self.memory.get(routed)}, {self.breaks}")
        await asyncio.sleep(0)
        return again

    async def finish(self, key: Key, works: bool = True) -> None:
        """Let a work take effect, and its outcome be recorded."""
        self.pending[key][1].set_result(works)
        pauses = chain([0.0] * 5, repeat(0.001))  # longer where a thread writes
        while key in self.keeper.busy and key not in self._waiting():  # noqa: ASYNC110  as users of a keeper cannot
            await asyncio.sleep(next(pauses))

    def _waiting(self) -> Set[Key]:
        """Works that wait for the test: a failed step is followed by its version's unloading."""
        return frozenset(key for key, (_, let) in self.pending.items() if not let.done())

    async def kill_control(self) -> None:
        await self.keeper.close()
        self.start_control()

    def poll(self, index: int, *servables: str) -> None:
        """A gateway takes over the routes of these servables, or of all; of the others old calls are under way."""
        routes = self.store.routes()
        for name in servables or (SERVABLE, OTHER):
            self.gateways[index][name] = Used(routes.revision, routes.versions.get(name))

    def restart_cluster(self) -> None:
        self.memory.clear()
        for index in range(len(self.gateways)):
            self.poll(index)

    async def look(self) -> None:
        """Control looks once; gateways poll, work is done, and if there is only waiting to do, time passes."""
        again = await self.reconcile()
        for index in range(len(self.gateways)):
            self.poll(index)
        for each in list(self.pending):
            await self.finish(each)
        if again < float("inf") and not self.keeper.busy:
            self.now = max(self.now, again)

    async def settle(self) -> None:
        """Everything that can happen happens, until only broken versions are tried again and again."""
        quiet, last, looks = 0, None, 0
        while quiet < QUIET:
            looks += 1
            assert looks < 400, f"no end: {last}"
            await self.look()
            hopeless = {*self.breaks, *(set(self.seen()) - self.offered)}
            now = [life for life in self.seen().values() if not (life.failures and life.key in hopeless)]
            quiet, last = (quiet + 1 if now == last else 0), now
        assert not self.wrong

    def seen(self) -> dict[Key, Life]:
        return {life.key: life for lives in self.store.lives().values() for life in lives}

    def _current(self) -> Set[tuple[Key, int]]:
        """What has the traffic, and since which revision."""
        return {(life.key, life.revision) for life in self.seen().values() if life.current}

    def routed(self, servable: str = SERVABLE) -> int | None:
        found = self.store.routes().versions.get(servable)
        return found.number if found else None
