"""When a deploy has failed, deploys the last configuration again with which everything came up."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

from configs.log import LOGGER
from rollouts.store import StateStore

logger = logging.getLogger(LOGGER)

LOOK_PERIOD_S = 5.0
GRACE_S = 30.0
"""How long a failed deploy stays: whoever waits for it sees that it failed, and may deploy something better."""

Call = Callable[..., Awaitable[Any]]


@dataclass(frozen=True)
class Deployed:
    """An application as Serve has it."""

    status: ApplicationStatus
    message: str
    config: Mapping[str, Any] | None
    """Its entry in the serve config; None if it was deployed from Python."""


class LastGood:
    """Of one application. The files of its graphs are kept with its configuration, as they may change meanwhile.

    Args:
        call: calls a function of Serve's.
        owner: the application.
        texts: path → content of the files of the graphs that its control was made for.
    """

    def __init__(self, store: StateStore, call: Call, owner: str, texts: Mapping[str, str]) -> None:
        self._store, self._call, self._owner, self._texts = store, call, owner, texts
        self._looked_at = float("-inf")
        self._failed_at: float | None = None
        self._kept: str | None = None

    async def look(self, complete: bool) -> None:
        """Keep the configuration if all of it is up, and go back to the last one that was if this one failed.

        Args:
            complete: every servable has a version with the traffic.
        """
        now = time.monotonic()
        if now - self._looked_at < LOOK_PERIOD_S:
            return
        self._looked_at = now
        deployed: Deployed | None = await self._call(_deployed, self._owner)
        if deployed is None or deployed.config is None:
            return
        failed = deployed.status is ApplicationStatus.DEPLOY_FAILED
        self._failed_at = (self._failed_at or now) if failed else None
        if deployed.status is ApplicationStatus.RUNNING and complete:
            await self._keep(_content(deployed.config, self._texts))
        elif self._failed_at is not None and now - self._failed_at >= GRACE_S:
            await self._go_back(deployed)

    async def _keep(self, content: str) -> None:
        if self._kept is None:
            self._kept = await asyncio.to_thread(self._store.last_configuration)
        if content != self._kept:
            await asyncio.to_thread(self._store.keep_configuration, content, time.time())
            self._kept = content

    async def _go_back(self, deployed: Deployed) -> None:
        self._failed_at = None  # if this fails too, after another while
        last = await asyncio.to_thread(self._store.last_configuration)
        if last is None or last == _content(deployed.config or {}, self._texts):
            return  # it has been up before: what failed is not the configuration
        kept = json.loads(last)
        logger.error(
            "the deploy of %s failed: %s\nThe last configuration with which everything came up is deployed again; "
            "correct the new one and deploy it.",
            self._owner,
            deployed.message,
        )
        application = kept["application"]
        application["args"] = {**application["args"], "graph_texts": kept["texts"]}
        await self._call(_deploy, application)


def _content(config: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """What is kept of a configuration; equal for the one that control itself deployed again."""
    args = {name: value for name, value in config.get("args", {}).items() if name != "graph_texts"}
    return json.dumps({"application": {**config, "args": args}, "texts": texts}, sort_keys=True)


# Serve has no public call for these two: its own command line goes through the dashboard's REST API.


def _deployed(name: str) -> Deployed | None:
    found = _get_global_client().get_serve_details()["applications"].get(name)
    if found is None:
        return None
    return Deployed(ApplicationStatus(found["status"]), found["message"], found.get("deployed_app_config"))


def _deploy(application: Mapping[str, Any]) -> None:
    client = _get_global_client()
    details = client.get_serve_details()
    configs = [each.get("deployed_app_config") for each in details["applications"].values()]
    others = [each for each in configs if each is not None and each["name"] != application["name"]]
    schema = {"applications": [*others, dict(application)], "target_capacity": details.get("target_capacity")}
    client.deploy_apps(ServeDeploySchema.model_validate(schema))
