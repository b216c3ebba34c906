"""Brings placed nodes up before they are needed and takes down what is no longer wanted."""

import asyncio
import logging
from collections.abc import Sequence

from ray import serve
from ray.serve.schema import ApplicationStatus

from configs.errors import ModelError
from deployments.settings import LOGGER
from deployments.stage import StageSpec, stage_application

logger = logging.getLogger(LOGGER)

RECONCILE_PERIOD_S = 5.0
_WORKING = (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING, ApplicationStatus.UNHEALTHY)


class Control:
    """The only one that deploys stages. Looks before it deploys: a repeated `serve.run` restarts replicas.

    It keeps no state of its own yet: a stage's name says all that decides it, so the applications that
    run are the observed state and the specs are the desired one.
    """

    def __init__(self, stages: Sequence[StageSpec]) -> None:
        logger.setLevel(logging.INFO)
        self._owner = serve.get_replica_context().app_name
        self._stages = {spec.application(self._owner): spec for spec in stages}
        self._ready: asyncio.Task[None] | None = None
        self._loop_task: asyncio.Task[None] | None = None

    async def routes(self) -> dict[tuple[str, str], str]:
        """(graph, node) → application, once every stage runs.

        Raises:
            ModelError: a stage did not come up; the message has its reason.
        """
        if self._ready is None:
            self._ready = asyncio.create_task(self._bring_up())
            self._loop_task = asyncio.create_task(self._reconcile_forever())
        await asyncio.shield(self._ready)
        return {(spec.graph, spec.node.name): name for name, spec in self._stages.items()}

    async def check_health(self) -> None:
        """Called by Serve on the event loop: an answer proves that the loop runs."""

    async def _bring_up(self) -> None:
        await asyncio.gather(*(self._deploy(name, spec) for name, spec in self._stages.items()))

    async def _deploy(self, name: str, spec: StageSpec) -> None:
        statuses = await asyncio.to_thread(_statuses)
        if statuses.get(name) not in _WORKING:
            logger.info("deploying stage %s", name)
            try:
                await asyncio.to_thread(
                    serve.run, stage_application(spec), name=name, route_prefix=None, blocking=False
                )
            except Exception as error:  # Serve raises RuntimeError and others; the gateway must say which stage
                await asyncio.to_thread(serve.delete, name, _blocking=False)
                raise ModelError(f"stage {name} did not start: {reason(str(error))}") from error
        await self._wait_until_running(name)

    async def _wait_until_running(self, name: str) -> None:
        while (status := (await asyncio.to_thread(_statuses)).get(name)) is not ApplicationStatus.RUNNING:
            if status not in _WORKING:
                raise ModelError(f"stage {name} did not start: its application is {status}")
            await asyncio.sleep(0.2)

    async def _reconcile_forever(self) -> None:
        assert self._ready is not None
        await asyncio.wait([self._ready])
        while True:
            await asyncio.sleep(RECONCILE_PERIOD_S)
            try:
                await self._reconcile()
            except Exception:  # the loop must outlive a controller that restarts; it tries again
                logger.exception("control could not reconcile; trying again in %s s", RECONCILE_PERIOD_S)

    async def _reconcile(self) -> None:
        statuses = await asyncio.to_thread(_statuses)
        if statuses.get(self._owner) is not ApplicationStatus.RUNNING:
            return  # an update is under way: old gateways may still call old stages
        for name, spec in self._stages.items():
            if name not in statuses:
                await self._deploy(name, spec)
        for name in statuses:
            if name.startswith(f"{self._owner}.") and name not in self._stages:
                logger.info("deleting stage %s: no graph wants it", name)
                await asyncio.to_thread(serve.delete, name, _blocking=False)

    async def __del__(self) -> None:
        """Called by Serve when the replica stops: with the application gone, its stages go too."""
        for task in (self._ready, self._loop_task):
            if task is not None:
                task.cancel()
        statuses = await asyncio.to_thread(_statuses)
        if statuses.get(self._owner) in (None, ApplicationStatus.DELETING):
            for name in self._stages:
                await asyncio.to_thread(serve.delete, name, _blocking=False)


def reason(text: str) -> str:
    """The last line of an error that carries a stack trace: the exception itself."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _statuses() -> dict[str, ApplicationStatus]:
    return {name: overview.status for name, overview in serve.status().applications.items()}
