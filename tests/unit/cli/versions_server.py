"""A server with the real admin API, state and keeper, whose versions live in a set: for the command line's tests."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Set
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import uvicorn

from configs.versions import Versions
from deployments.admin import Admin
from deployments.http_door import HttpDoor
from deployments.operators import Operator, admin_token
from rollouts.keeper import Keeper
from rollouts.life import Key
from rollouts.plan import Verb
from rollouts.store import StateStore
from tests.unit.deployments.doors import MAX_BYTES, gateway

LOOK_S = 0.05
"""How often the source is looked at."""


class VersionsServer:
    """Serves while the context is open; there is one servable.

    Args:
        root: of the application: the state and the token are below.
        published: the versions of its source: number → digest.
        load: raises what is wrong with a version.
    """

    def __init__(
        self, root: Path, servable: str, published: Callable[[], dict[int, str]], load: Callable[[int], None]
    ) -> None:
        self._servable, self._published, self._load = servable, published, load
        self._memory: set[Key] = set()
        self._policies = {servable: Versions()}
        (root / ".millrace").mkdir(exist_ok=True)
        self._store = StateStore(f"sqlite:///{root}/.millrace/state.sqlite")
        self._root, self.token = root, admin_token(root)
        self.url = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(30)
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    def wait_until_routed(self) -> None:
        """Until a version has the traffic."""
        until = time.monotonic() + 60
        while not self._store.routes().versions:
            assert time.monotonic() < until
            time.sleep(0.01)

    # What a keeper asks for.

    async def up(self) -> Set[Key]:
        return frozenset(self._memory)

    def acknowledged(self, servable: str) -> int:
        return self._store.routes().revision

    async def do(self, verb: Verb, key: Key) -> None:
        if verb is Verb.LOAD:
            await asyncio.to_thread(self._load, key.number)
            self._memory.add(key)
        elif verb is Verb.UNLOAD:
            self._memory.discard(key)

    async def _run(self) -> None:
        changed = asyncio.Event()
        operator = Operator(self._store, self._policies, self._root, changed.set)

        def operate(token: str, asked: Any) -> Any:
            return operator.answer(token, asked, {self._servable: self.acknowledged(self._servable)})

        control: Any = SimpleNamespace(operate=SimpleNamespace(remote=operate))
        door = HttpDoor(gateway()[0], "millrace", "1", MAX_BYTES, admin=Admin(control, [self._servable]))
        config = uvicorn.Config(door, host="127.0.0.1", port=0, lifespan="off", log_level="error")
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        keeper = Keeper(self._store, self)
        while not serving.done():
            await keeper.reconcile(self._policies, {self._servable: self._keys()})
            if not self.url and self._server.started:
                self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
                self._started.set()
            await self._look_again(changed, keeper.changed)
        await keeper.close()
        self._store.close()

    def _keys(self) -> Collection[Key]:
        return [Key(self._servable, number, digest) for number, digest in self._published().items()]

    async def _look_again(self, *events: asyncio.Event) -> None:
        waits = [asyncio.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        events[0].clear()
