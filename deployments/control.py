"""Brings placed nodes up before they are needed and takes down what is no longer wanted."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from ray import serve
from ray.serve import RunTarget
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from configs.errors import ModelError
from deployments.settings import LOGGER
from deployments.stage import StageSpec, stage_application

logger = logging.getLogger(LOGGER)

RECONCILE_PERIOD_S = 5.0
StageNames = tuple[str, ...]
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

    async def routes(self, wanted: StageNames) -> dict[tuple[str, str], str] | None:
        """(graph, node) → application, once every stage runs; None if other stages than these are wanted.

        While an update is under way, a new gateway may reach the old control, which must not answer with the stages
        that are about to go.

        Raises:
            ModelError: a stage did not come up; the message has its reason.
        """
        if wanted != stage_names(self._stages.values()):
            return None
        if self._ready is None:
            self._ready = asyncio.create_task(self._bring_up())
            self._loop_task = asyncio.create_task(self._reconcile_forever())
        await asyncio.shield(self._ready)
        return {(spec.graph, spec.node.name): name for name, spec in self._stages.items()}

    async def check_health(self) -> None:
        """Called by Serve on the event loop: an answer proves that the loop runs."""

    async def _bring_up(self) -> None:
        await self._deploy(list(self._stages))

    async def _deploy(self, names: Sequence[str]) -> None:
        """Bring up those that do not run yet, all in one call: Serve's deploying is not safe in several threads."""
        statuses = await asyncio.to_thread(_statuses)
        missing = [name for name in names if statuses.get(name) not in _WORKING]
        if missing:
            logger.info("deploying stages %s", ", ".join(missing))
            targets = [RunTarget(stage_application(self._stages[name]), name, route_prefix=None) for name in missing]
            await asyncio.to_thread(serve.run_many, targets, wait_for_applications_running=False)
        await asyncio.gather(*(self._wait_until_running(name) for name in names))

    async def _wait_until_running(self, name: str) -> None:
        while True:
            overview = (await asyncio.to_thread(serve.status)).applications.get(name)
            if overview is not None and overview.status is ApplicationStatus.RUNNING:
                return
            if overview is None or overview.status not in _WORKING:
                await asyncio.to_thread(serve.delete, name, _blocking=False)
                raise ModelError(f"stage {name} did not start: {_why(overview)}")
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
        if gone := [name for name in self._stages if name not in statuses]:
            await self._deploy(gone)
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


def stage_names(stages: Iterable[StageSpec]) -> StageNames:
    """What tells two sets of stages apart: the names of their applications, whoever owns them."""
    return tuple(sorted(spec.application("") for spec in stages))


def _why(overview: ApplicationStatusOverview | None) -> str:
    if overview is None:
        return "somebody deleted its application"
    # The application's own message only names the deployment that failed.
    messages = [deployment.message for deployment in overview.deployments.values()]
    return reason("\n".join([overview.message, *messages]))


def _statuses() -> dict[str, ApplicationStatus]:
    return {name: overview.status for name, overview in serve.status().applications.items()}
