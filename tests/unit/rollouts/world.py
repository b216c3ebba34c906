"""A world in which versions live: files, processes, gateways that poll, a control that can be killed at any point."""

import asyncio
from collections.abc import Collection, Mapping, Set
from itertools import chain, repeat
from typing import cast

from configs.errors import ModelError
from configs.versions import Versions
from rollouts.keeper import Keeper
from rollouts.life import Key, Life
from rollouts.plan import Verb
from rollouts.store import Routes, StateStore
from tests.unit.rollouts.memory_store import MemoryStore

SERVABLE = "digits.cnn"
LOADED, WARM, CHECKED = "loaded", "warm", "checked"
QUIET = 8
"""Looks without a change after which none is to come; a broken version needs at most seven to fail again."""


def key(number: int, digest: str = "a") -> Key:
    return Key(SERVABLE, number, digest)


class World:
    """What keepers have at hand. Each work waits until `finish` lets it take effect."""

    def __init__(self, store: StateStore | MemoryStore) -> None:
        self.now = 1_000.0
        self.offered: set[Key] = set()
        self.breaks: dict[Key, Verb] = {}
        """Version → the step that fails."""
        self.memory: dict[Key, str] = {}
        self.gateways: list[Routes] = [Routes(0, {}), Routes(0, {})]
        self.wrong: list[str] = []
        """What must never happen, and did."""
        self.pending: dict[Key, tuple[Verb, asyncio.Future[bool]]] = {}
        self.policies: dict[str, Versions] = {SERVABLE: Versions()}
        self.store = store
        self.start_control()

    def start_control(self) -> None:
        self.keeper = Keeper(cast(StateStore, self.store), self, lambda: self.now, lambda: 0.5)

    # What a keeper asks for.

    async def up(self) -> Set[Key]:
        return frozenset(self.memory)

    def acknowledged(self) -> int:
        return min(gateway.revision for gateway in self.gateways)

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
            routes = [self.store.routes(), *self.gateways]
            if key in self.memory and key in [each.versions.get(key.servable) for each in routes]:
                self.wrong.append(f"{key} is freed, but used: {routes}")  # raised, it would be one failure more
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
        offered = {SERVABLE: frozenset(self.offered)} if published is None else published
        before = self.store.routes()
        again = await self.keeper.reconcile(self.policies, offered)
        after = self.store.routes()
        routed = after.versions.get(SERVABLE)
        if routed and after != before and (self.memory.get(routed) != CHECKED or routed in self.breaks):
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

    def poll(self, index: int) -> None:
        self.gateways[index] = self.store.routes()

    def restart_cluster(self) -> None:
        self.memory.clear()
        self.gateways = [self.store.routes() for _ in self.gateways]

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
        return {life.key: life for life in self.store.lives().get(SERVABLE, [])}

    def routed(self) -> int | None:
        found = self.store.routes().versions.get(SERVABLE)
        return found.number if found else None
