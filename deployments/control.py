"""The control deployment: keeps the right versions up, and tells every gateway which have the traffic."""

import asyncio
import logging
import random
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import ray
from ray import serve

from configs.errors import MillraceError, Unavailable
from configs.log import LOGGER
from deployments.catalogue import Catalogue
from deployments.gateways import Gateways
from deployments.hands import Hands
from deployments.last_good import LastGood
from deployments.operations import Answer, Operation
from deployments.operators import Operator
from deployments.orders import Orders, Report
from deployments.sources import Sources
from deployments.stages import Stages
from deployments.state import default_state_url, opened
from deployments.version_metrics import VersionMetrics
from rollouts.keeper import Keeper
from rollouts.life import IN_MEMORY, WARM, Key, Life
from rollouts.policy import Wish, wanted
from rollouts.store import Routes

logger = logging.getLogger(LOGGER)

POLL_S = 2.0
"""About how often the sources are looked at; never all at the same time."""
TRY_AGAIN_S = 1.0
"""Pause after the state, or Serve's controller, was away."""
WATCH_S = 5.0
"""How long a gateway waits for new orders before it asks again."""
GATHER_S = 10.0
"""How long a control that starts waits for the gateways that run to tell what they do."""
DEPOSED = float("-inf")
"""Said in place of a time: there is nothing more to do here."""
GATEWAYS_GO_S = 40.0
"""How long stages outlive their application for gateways that drain; longer than Serve lets those (`COMMON`)."""
PATIENCE_S = 15.0
"""How long gateways that start wait for a state that is away before they say so."""


class Control:
    """Compares what should be with what is, and has it made so; the state outlives it.

    Args:
        catalogue: the servables of the application's graphs.
        state_url: of the database with the state; None: the application's file in `root`.
        texts: path → content of the graphs' files.
    """

    async def __init__(  # type: ignore[misc]
        self,
        catalogue: Catalogue,
        state_url: str | None,
        root: Path,
        texts: Mapping[str, str],
        log_level: str = "INFO",
    ) -> None:
        logger.setLevel(log_level)
        context, namespace = serve.get_replica_context(), ray.get_runtime_context().namespace
        self._catalogue = catalogue
        self._stages = Stages(context.app_name)
        self._gateways = Gateways(catalogue.configuration, lambda name: _lives(name, namespace))
        self._hands = Hands(catalogue.served, self._stages, self._gateways)
        self._sources = Sources(catalogue.served)
        self._application = context.app_name
        self._looked_at = float("-inf")
        self._store = await opened(state_url or default_state_url(root, context.app_name))
        wake = self._gateways.changed.set
        self._operator = await asyncio.to_thread(Operator, self._store, self._sources.policies, root, wake)
        self._metrics = await asyncio.to_thread(VersionMetrics, self._store)
        self._last_good = LastGood(self._store, self._stages.call, context.app_name, texts)
        self._keeper: Keeper | None = None
        self._leader = 0
        # At once, so that a control that was restarted need not be asked first.
        self._task = asyncio.create_task(self._run())

    async def watch(self, report: Report, seen: int) -> Orders | None:
        """The next orders for a gateway after those of the serial `seen`; None if there are none in `WATCH_S`.

        While an update is under way, gateways of the configuration before ask here too: they keep what they have, and
        it is not taken from them before they end.
        """
        await self._gateways.heard(report)
        return await self._gateways.orders_after(report, seen, WATCH_S)

    async def tell(self, report: Report) -> None:
        """What a gateway does, as soon as that changes."""
        await self._gateways.heard(report)

    async def operate(self, token: str, asked: Operation) -> Answer | MillraceError:
        """What an operator asks for. Errors are returned: raised, Ray would wrap them."""
        acknowledged = {name: self._gateways.acknowledged(name) for name in self._catalogue.served}
        return await self._operator.answer(token, asked, acknowledged)

    async def check_health(self) -> None:
        """Called by Serve on the event loop: an answer proves that the loop runs."""

    async def _run(self) -> None:
        began = time.monotonic()
        again = 0.0
        while again != DEPOSED:
            try:
                again = await self._step()
                began = time.monotonic()
                await self._wait(again)
            except Unavailable as error:
                logger.warning("%s", error.message)
                if time.monotonic() - began > PATIENCE_S:
                    await self._gateways.despair(error.message)
                await asyncio.sleep(TRY_AGAIN_S)
            except Exception:  # the loop must outlive a controller of Serve's that restarts
                logger.exception("control could not go on; trying again in %s s", TRY_AGAIN_S)
                await asyncio.sleep(TRY_AGAIN_S)

    async def _step(self) -> float:
        """Look once, and take every step that can be taken. Gives when to look again, in seconds since 1970."""
        if self._keeper is None:
            await self._begin()
            self._keeper = Keeper(self._store, self._hands)
        if not await asyncio.to_thread(self._store.leads, self._leader):
            logger.info("another control has taken over")
            await self._gateways.end()
            await self._keeper.close()
            return DEPOSED
        await self._gateways.forget_the_dead()
        routes = (await asyncio.to_thread(self._store.routes)).versions
        if time.monotonic() - self._looked_at >= POLL_S / 2:
            await self._look(routes)
        self._hands.current = frozenset(routes.values())
        again = await self._keeper.reconcile(self._sources.policies, self._sources.published)
        await self._last_good.look(complete=await self._publish())
        await asyncio.to_thread(self._metrics.export)
        return again

    async def _look(self, routes: Mapping[str, Key]) -> None:
        self._looked_at = time.monotonic()
        await self._sources.look(routes)

    async def _begin(self) -> None:
        """Take over from the control before: order what it had ordered, once the gateways have told what they do."""
        self._leader = await asyncio.to_thread(self._store.lead, self._application, time.time())
        lives = await asyncio.to_thread(self._store.lives)
        hold = {
            life.key
            for name in self._catalogue.served
            for life in lives.get(name, ())
            if life.phase in IN_MEMORY or life.current
        }
        routes = await asyncio.to_thread(self._store.routes)
        await self._look(routes.versions)
        ours = frozenset(key for key in hold if self._is_ours(key))
        await self._gateways.begin(self._leader, ours, routes.revision, self._ours(routes))
        await self._hands.up()
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._gateways.all_heard()

    async def _publish(self) -> bool:
        """Give the gateways the routes as they are. Whether every servable has one."""
        routes = await asyncio.to_thread(self._store.routes)
        lives = await asyncio.to_thread(self._store.lives)
        wishes = await asyncio.to_thread(self._store.wishes, self._sources.policies)
        versions = self._ours(routes)
        waiting = {name: wish for name, wish in wishes.items() if name not in versions}
        hopeless = [self._hopeless(name, lives.get(name, []), wish) for name, wish in waiting.items()]
        await self._gateways.publish(routes.revision, versions, "; ".join(filter(None, hopeless)))
        return not waiting

    def _hopeless(self, servable: str, lives: Collection[Life], wish: Wish) -> str:
        """Why no version of a servable is to be expected soon; empty if one is."""
        best, said = wanted(lives, wish), self._sources.said[servable]
        if not best:
            why = f"{servable}: there is no version that it could serve{said and f' ({said})'}"
            return "" if self._sources.may_yet_answer(servable) else why
        if any(life.phase in WARM or not life.failures for life in best):
            return ""
        return best[0].reason

    def _ours(self, routes: Routes) -> dict[str, Key]:
        """Routes that gateways of this configuration can follow.

        Another configuration's are not: its stages do something else, or its nodes are placed elsewhere.
        """
        return {name: key for name, key in routes.versions.items() if self._is_ours(key)}

    def _is_ours(self, key: Key) -> bool:
        if key.servable not in self._catalogue.served:
            return False
        published = self._sources.published.get(key.servable)  # None: nobody can say what it was made of
        return published is None or key in published or key in self._gateways.ready()

    async def _wait(self, until: float) -> None:
        """Until there may be something to do."""
        events = [self._gateways.changed] + ([self._keeper.changed] if self._keeper else [])
        timeout = max(0.0, min(until - time.time(), POLL_S * random.uniform(0.75, 1.25)))
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        for event in events:
            event.clear()

    async def __del__(self) -> None:
        """Called by Serve when the replica stops."""
        task = getattr(self, "_task", None)  # absent if __init__ failed
        if task is not None:
            task.cancel()
            if self._keeper is not None:
                await self._keeper.close()
            self._store.close()
            if not await self._stages.has_owner():
                # Serve stops all deployments of an application together: gateways still answer what they have.
                await self._gateways.all_gone(GATEWAYS_GO_S)
                await self._stages.delete_all_without_owner()


def _lives(actor: str, namespace: str) -> bool:
    try:
        ray.get_actor(actor, namespace)
    except ValueError:
        return False
    return True
