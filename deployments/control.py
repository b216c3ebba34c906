"""Brings placed nodes up before they are needed and takes down what is no longer wanted."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence

from ray import serve
from ray.serve import RunTarget
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from configs.errors import MillraceError, ModelError, reason
from configs.log import LOGGER
from deployments.stage import StageSpec, is_stage, stage_application

logger = logging.getLogger(LOGGER)

RECONCILE_PERIOD_S = 5.0
POLL_S = 0.25
TELL_PERIOD_S = 30.0
"""How often the log says what a stage still waits for."""
FAILURE_HOLDS_S = 15.0
"""How long a failure is the answer to whoever asks: Serve starts a gateway that fails twice more, seconds apart."""
StageNames = tuple[str, ...]
Overviews = dict[str, ApplicationStatusOverview]
_WORKING = (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOYING, ApplicationStatus.UNHEALTHY)


class Control:
    """The only one that deploys stages. Looks before it deploys: a repeated `serve.run` restarts replicas.

    It keeps no state of its own yet: a stage's name says all that decides it, so the applications that
    run are the observed state and the specs are the desired one.
    """

    async def __init__(self, stages: Sequence[StageSpec], log_level: str = "INFO") -> None:  # type: ignore[misc]
        logger.setLevel(log_level)
        self._owner = serve.get_replica_context().app_name
        self._stages = {spec.application(self._owner): spec for spec in stages}
        self._deploying = asyncio.Lock()
        self._failed_at = float("-inf")
        self._ready = asyncio.create_task(self._bring_up())
        # At once, so that a control that was restarted need not be asked first.
        self._loop_task = asyncio.create_task(self._reconcile_forever())

    async def routes(self, wanted: StageNames) -> dict[tuple[str, str], str] | None:
        """(graph, node) → application, once every stage runs; None if other stages than these are wanted.

        While an update is under way, a new gateway may reach the old control, which must not answer with the stages
        that are about to go.

        Raises:
            ModelError: a stage did not come up; the message has its reason. Asked later, it is tried again.
        """
        if wanted != stage_names(self._stages.values()):
            return None
        if self._ready.done() and self._ready.exception() and time.monotonic() - self._failed_at > FAILURE_HOLDS_S:
            self._ready = asyncio.create_task(self._bring_up())
        await asyncio.shield(self._ready)
        return {(spec.graph, spec.node.name): name for name, spec in self._stages.items()}

    async def check_health(self) -> None:
        """Called by Serve on the event loop: an answer proves that the loop runs."""

    async def _bring_up(self) -> None:
        try:
            await self._deploy()
        except Exception as error:
            self._failed_at = time.monotonic()
            logger.error("%s", error.message if isinstance(error, MillraceError) else repr(error))
            raise

    async def _deploy(self) -> None:
        """Bring up the stages that do not run yet and wait until all run."""
        async with self._deploying:
            overviews = await self._wait_until_deleted()
            missing = [name for name in self._stages if not _works(overviews.get(name))]
            if missing:
                logger.info("deploying stages %s", ", ".join(missing))
                targets = [
                    RunTarget(stage_application(self._stages[name]), name, route_prefix=None) for name in missing
                ]
                # All in one call: Serve's deploying is not safe in several threads.
                await asyncio.to_thread(serve.run_many, targets, wait_for_applications_running=False)
            await self._wait_until_running()

    async def _wait_until_deleted(self) -> Overviews:
        """Stages that go, as after a failure, cannot be deployed yet."""
        while True:
            overviews = await _overviews()
            if not any(_is_deleted(overviews.get(name)) for name in self._stages):
                return overviews
            await asyncio.sleep(POLL_S)

    async def _wait_until_running(self) -> None:
        """However long it takes, as a cluster may have to grow first; the log says what is waited for."""
        told = time.monotonic()
        while True:
            overviews = await _overviews()
            if failed := [name for name in self._stages if not _works(overviews.get(name))]:
                raise ModelError("; ".join([await self._give_up(name, overviews.get(name)) for name in failed]))
            waiting = [name for name in self._stages if overviews[name].status is not ApplicationStatus.RUNNING]
            if not waiting:
                return
            if time.monotonic() - told >= TELL_PERIOD_S:
                told = time.monotonic()
                for name in waiting:
                    logger.warning("stage %s is not up yet: %s", name, _why(overviews[name]))
            await asyncio.sleep(POLL_S)

    async def _give_up(self, name: str, overview: ApplicationStatusOverview | None) -> str:
        if overview is None or _is_deleted(overview):
            return f"stage {name} did not start: somebody deleted its application"
        await asyncio.to_thread(serve.delete, name, _blocking=False)
        return f"stage {name} did not start: {_why(overview)}"

    async def _reconcile_forever(self) -> None:
        await asyncio.wait([self._ready])
        while True:
            await asyncio.sleep(RECONCILE_PERIOD_S)
            try:
                await self._reconcile()
            except Exception:  # the loop must outlive a controller that restarts; it tries again
                logger.exception("control could not reconcile; trying again in %s s", RECONCILE_PERIOD_S)

    async def _reconcile(self) -> None:
        overviews = await _overviews()
        owner = overviews.get(self._owner)
        if owner is None or owner.status is not ApplicationStatus.RUNNING:
            return  # an update is under way: old gateways may still call old stages
        for name in overviews:
            if is_stage(self._owner, name) and name not in self._stages:
                logger.info("deleting stage %s: no graph wants it", name)
                await asyncio.to_thread(serve.delete, name, _blocking=False)
        if not all(_works(overviews.get(name)) for name in self._stages):
            await self._deploy()

    async def __del__(self) -> None:
        """Called by Serve when the replica stops: with the application gone, its stages go too."""
        self._ready.cancel()
        self._loop_task.cancel()
        owner = (await _overviews()).get(self._owner)
        if owner is None or _is_deleted(owner):
            for name in self._stages:
                await asyncio.to_thread(serve.delete, name, _blocking=False)


def stage_names(stages: Iterable[StageSpec]) -> StageNames:
    """What tells two sets of stages apart: the names of their applications, whoever owns them."""
    return tuple(sorted(spec.application("") for spec in stages))


def _works(overview: ApplicationStatusOverview | None) -> bool:
    return overview is not None and overview.status in _WORKING


def _is_deleted(overview: ApplicationStatusOverview | None) -> bool:
    return overview is not None and overview.status is ApplicationStatus.DELETING


def _why(overview: ApplicationStatusOverview) -> str:
    # The application's own message only names the deployment that failed.
    return reason([overview.message, *(deployment.message for deployment in overview.deployments.values())])


async def _overviews() -> Overviews:
    applications: Overviews = (await asyncio.to_thread(serve.status)).applications
    return applications
