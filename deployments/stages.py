"""The Serve applications of placed nodes, one for each version: brought up, waited for, taken down."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.serve import RunTarget
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, ReplicaState

from configs.errors import ModelError, reason
from configs.log import LOGGER
from deployments.responses import AWAY
from deployments.stage import StageSpec, application_of, stage_application, version_of
from rollouts.life import Key

logger = logging.getLogger(LOGGER)

POLL_S = 0.25
AGAIN_S = 1.0
"""Pause before Serve's controller is asked again after it was away."""
TELL_PERIOD_S = 30.0
"""How often the log says what a stage still waits for."""
Overviews = Mapping[str, ApplicationStatusOverview]
_WORKING = (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING, ApplicationStatus.UNHEALTHY)


class Stages:
    """The only one that deploys stages. Looks before it deploys: a repeated `serve.run` restarts replicas.

    Args:
        owner: the application whose stages they are.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._changing = asyncio.Lock()
        self._soon: asyncio.Future[Overviews] | None = None
        self._thread = ThreadPoolExecutor(1, "millrace-serve")
        """Serve's calls are not safe in several threads, not even its `status` beside a `run`."""

    async def look(self, current: Set[Key]) -> tuple[Set[Key], int]:
        """The versions of which there is a stage, be it half gone, and how many gateways answer requests.

        Args:
            current: versions with the traffic: a stage of theirs that failed does not count, so that it comes back.
        """
        overviews = await self._overviews()
        keys = {key: each for name, each in overviews.items() if (key := version_of(self._owner, name)) is not None}
        there = frozenset(key for key, each in keys.items() if key not in current or each.status in _WORKING)
        owner = overviews.get(self._owner)
        gateway = owner.deployments.get("gateway") if owner is not None else None
        return there, gateway.replica_states.get(ReplicaState.RUNNING, 0) if gateway is not None else 0

    async def deploy(self, spec: StageSpec, key: Key, content: str = "") -> None:
        """Bring the stage of a version, with this content if it is fetched, up, unless it is."""
        name = application_of(self._owner, key)
        async with self._changing:
            overview = await self._when_not_deleting(name)
            if overview is None or overview.status not in _WORKING:
                logger.info("deploying stage %s", name)
                await self.call(_run, spec, key, content, name)

    async def wait(self, key: Key) -> None:
        """Until the stage runs, however long that takes: a cluster may have to grow first. The log says what lacks.

        Raises:
            ModelError: it did not start; the message has the reason.
        """
        name, told = application_of(self._owner, key), time.monotonic()
        while True:
            overview = (await self._next_look()).get(name)
            if overview is None or overview.status is ApplicationStatus.DELETING:
                raise ModelError(f"stage {name} did not start: somebody deleted its application")
            if overview.status not in _WORKING:
                raise ModelError(f"stage {name} did not start: {_why(overview)}")
            if overview.status is ApplicationStatus.RUNNING:
                return
            if time.monotonic() - told >= TELL_PERIOD_S:
                told = time.monotonic()
                logger.warning("stage %s is not up yet: %s", name, _why(overview))

    async def delete(self, key: Key) -> None:
        """Let a stage answer what it has, and end; returns when it is gone."""
        name = application_of(self._owner, key)
        async with self._changing:
            if name in await self._overviews():
                await self.call(_delete, name)
        while name in await self._next_look():
            pass

    async def has_owner(self) -> bool:
        """Whether the application is there to stay."""
        owner = (await self._overviews()).get(self._owner)
        return owner is not None and owner.status is not ApplicationStatus.DELETING

    async def delete_all_without_owner(self) -> None:
        """With the application gone, its stages go too."""
        if await self.has_owner():
            return
        for name in await self._overviews():
            if version_of(self._owner, name) is not None:
                await self.call(_delete, name)

    async def _when_not_deleting(self, name: str) -> ApplicationStatusOverview | None:
        while True:
            overview = (await self._overviews()).get(name)
            if overview is None or overview.status is not ApplicationStatus.DELETING:
                return overview
            await asyncio.sleep(POLL_S)

    async def _next_look(self) -> Overviews:
        """A look that begins soon. All who wait for something share it: one takes a hundredth of a second of CPU."""
        if self._soon is None:
            self._soon = asyncio.ensure_future(self._look_soon())
        return await asyncio.shield(self._soon)

    async def _look_soon(self) -> Overviews:
        await asyncio.sleep(POLL_S)
        self._soon = None  # who asks from now on may mean what has happened since
        return await self._patiently()

    async def _patiently(self) -> Overviews:
        """As `_overviews`, however long Serve's controller is away: that is no version's fault."""
        while True:
            try:
                return await self._overviews()
            except AWAY as error:
                logger.warning("Serve's controller is away: %s", error)
                await asyncio.sleep(AGAIN_S)

    async def _overviews(self) -> Overviews:
        applications: Overviews = (await self.call(serve.status)).applications
        return applications

    async def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """What a function of Serve's gives, called in the one thread for them."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _why(overview: ApplicationStatusOverview) -> str:
    # The application's own message only names the deployment that failed.
    return reason([overview.message, *(deployment.message for deployment in overview.deployments.values())])


def _run(spec: StageSpec, key: Key, content: str, name: str) -> None:
    target = RunTarget(stage_application(spec, key.number, content), name, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)


def _delete(name: str) -> None:
    serve.delete(name, _blocking=False)
