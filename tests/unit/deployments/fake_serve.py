"""A Serve that only remembers what it is told."""

import asyncio
from types import SimpleNamespace
from typing import Any

from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ReplicaState,
)

OWNER = "shop"


class FakeServe:
    """In the place of `ray.serve`: new applications get the status `becomes`, deleted ones vanish."""

    def __init__(self) -> None:
        self.applications: dict[str, ApplicationStatusOverview] = {}
        self.becomes, self.message = ApplicationStatus.RUNNING, ""
        self.deployed: list[str] = []
        self.asked = 0
        self.gateways = 0
        self.put(OWNER, ApplicationStatus.RUNNING)

    def put(self, name: str, status: ApplicationStatus, message: str = "") -> None:
        trigger = DeploymentStatusTrigger.UNSPECIFIED
        stage = DeploymentStatusOverview(DeploymentStatus.UPDATING, trigger, {}, message)
        self.applications[name] = ApplicationStatusOverview(status, "", 0, {"stage": stage})

    def get_replica_context(self) -> SimpleNamespace:
        return SimpleNamespace(app_name=OWNER)

    def status(self) -> SimpleNamespace:
        self.asked += 1
        if self.gateways:
            states = {ReplicaState.RUNNING: self.gateways}
            overview = DeploymentStatusOverview(
                DeploymentStatus.HEALTHY, DeploymentStatusTrigger.UNSPECIFIED, states, ""
            )
            self.applications[OWNER].deployments["gateway"] = overview
        return SimpleNamespace(applications=dict(self.applications))

    async def asked_again(self) -> None:
        """Until it was asked several times more."""
        async with asyncio.timeout(10):
            before = self.asked
            while self.asked < before + 4:  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def run_many(self, targets: list[Any], *, wait_for_applications_running: bool) -> None:
        assert not wait_for_applications_running
        for target in targets:
            self.deployed.append(target.name)
            self.put(target.name, self.becomes, self.message)

    def delete(self, name: str, *, _blocking: bool) -> None:
        del self.applications[name]
