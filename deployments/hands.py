"""What is done for a version outside the state: with Serve where its node is placed, else with the gateways."""

import asyncio
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor

from configs.errors import ModelError
from deployments.catalogue import Served
from deployments.gateways import Gateways
from deployments.orders import Degree
from deployments.stages import Stages
from rollouts.life import Key
from rollouts.plan import Verb

FETCHES_AT_ONCE = 8
"""Downloads, or comparisons with digests, side by side."""


class Hands:
    """As `rollouts.keeper.Hands`.

    Args:
        served: the servables of the configuration, by name.
    """

    def __init__(self, served: Mapping[str, Served], stages: Stages, gateways: Gateways) -> None:
        self._served, self._stages, self._gateways = served, stages, gateways
        # Its own: downloads must not keep the state waiting for a thread.
        self._pool = ThreadPoolExecutor(FETCHES_AT_ONCE, "millrace-fetch")
        self.current: Set[Key] = frozenset()
        """Versions that the routes name."""

    async def up(self) -> Set[Key]:
        """The versions of which there is anything in memory."""
        stages, self._gateways.running = await self._stages.look(self.current)
        return stages | {key for key in self._gateways.held() if not self._is_placed(key)}

    def acknowledged(self, servable: str) -> int:
        """The revision of the routes whose version of a servable every gateway has taken over."""
        return self._gateways.acknowledged(servable)

    async def do(self, verb: Verb, key: Key) -> None:
        """Do it, or make sure that it is done. Raises ModelError with the reason."""
        served = self._served.get(key.servable)
        if verb is Verb.UNLOAD:
            await self._unload(key)
        elif served is None:
            raise ModelError("no graph has this node any more")
        elif verb in (Verb.FETCH, Verb.VERIFY):
            step = served.fetch if verb is Verb.FETCH else served.verify
            await asyncio.get_running_loop().run_in_executor(self._pool, step, key)
        elif served.stage is None or verb is Verb.CHECK:
            await self._gateways.hold(key, _DEGREES[verb])
        elif verb is Verb.LOAD:
            await self._stages.deploy(served.stage, key, await asyncio.to_thread(served.content_of, key))
        else:
            await self._stages.wait(key)

    async def _unload(self, key: Key) -> None:
        await self._gateways.drop(key)
        if self._is_placed(key):
            await self._stages.delete(key)

    def _is_placed(self, key: Key) -> bool:
        served = self._served.get(key.servable)
        return served is None or served.stage is not None


_DEGREES = {Verb.LOAD: Degree.LOADED, Verb.WARM_UP: Degree.WARM, Verb.CHECK: Degree.READY}
