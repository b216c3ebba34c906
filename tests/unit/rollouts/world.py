"""A world in which versions live: files, processes, gateways that poll, a control that can be killed at any point."""

import asyncio
from collections.abc import Collection, Mapping, Set

from configs.errors import ModelError
from configs.versions import Versions
from rollouts.keeper import Keeper
from rollouts.life import Key
from rollouts.plan import Reroute, Verb
from rollouts.store import Routes, StateStore

SERVABLE = "digits.cnn"
LOADED, WARM, CHECKED = "loaded", "warm", "checked"
QUIET = 8
"""Looks without a change after which none is to come; a broken version needs at most seven to fail again."""


def key(number: int, digest: str = "a") -> Key:
    return Key(SERVABLE, number, digest)


class WatchedStore(StateStore):
    """Refuses routes to what cannot answer."""

    world: "World"

    def reroute(self, change: Reroute, now: float) -> int:
        if change.to is not None:
            assert self.world.memory.get(change.to) == CHECKED, f"{change.to} is routed, but not warm"
            assert self.world.breaks.get(change.to) is None, f"{change.to} is routed, but broken"
        return super().reroute(change, now)


class World:
    """What keepers have at hand. Each work waits until `finish` lets it take effect."""

    def __init__(self, url: str) -> None:
        self.now = 1_000.0
        self.offered: set[Key] = set()
        self.breaks: dict[Key, Verb] = {}
        """Version → the step that fails."""
        self.memory: dict[Key, str] = {}
        self.gateways: list[Routes] = [Routes(0, {}), Routes(0, {})]
        self.pending: dict[Key, tuple[Verb, asyncio.Future[bool]]] = {}
        self.policies: dict[str, Versions] = {SERVABLE: Versions()}
        self.url, self.store = url, WatchedStore(url)
        self.store.world = self
        self.start_control()

    def start_control(self) -> None:
        self.keeper = Keeper(self.store, self, lambda: self.now, lambda: 0.5)

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
            users = [gateway for gateway in self.gateways if gateway.versions.get(key.servable) == key]
            assert not users, f"{key} is unloaded while gateways use it"
            assert self.store.routes().versions.get(key.servable) != key, f"{key} is unloaded, but routed"
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
        again = await self.keeper.reconcile(self.policies, offered)
        await asyncio.sleep(0)
        return again

    async def finish(self, key: Key, works: bool = True) -> None:
        """Let a work take effect, and its outcome be recorded."""
        self.pending[key][1].set_result(works)
        while key in self.keeper.busy and key not in await self._waiting():  # noqa: ASYNC110  a thread writes
            await asyncio.sleep(0.0001)

    async def _waiting(self) -> Set[Key]:
        """Works that wait for the test: a failed step is followed by its version's unloading."""
        await asyncio.sleep(0)
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
            now = [life for life in self.store.lives().get(SERVABLE, []) if life.key not in self.breaks]
            quiet, last = (quiet + 1 if now == last else 0), now

    def routed(self) -> int | None:
        found = self.store.routes().versions.get(SERVABLE)
        return found.number if found else None
