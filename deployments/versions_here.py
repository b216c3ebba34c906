"""The versions that a gateway calls: models loaded in its own process, and stages that it reaches by handle."""

import asyncio
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ray import serve

from configs.errors import ModelError
from configs.graph import ModelsNode
from configs.tensors import Signature
from deployments.catalogue import Served
from deployments.hop import StageCall
from deployments.models_call import ModelsCall
from deployments.service import GraphService
from deployments.stage import STAGE, StageDescription, application_of
from graphs.instances import Instance, load_instance, warm_up
from graphs.load import signature_of
from graphs.slot import Occupant
from rollouts.life import Key
from servables.base import LoadOptions

AT_ONCE = 4
"""Models that are loaded side by side."""


@dataclass(frozen=True)
class Reached:
    """A stage that answers."""

    call: StageCall | ModelsCall
    signature: Signature
    version: str


Version = Instance | Reached


class VersionsHere:
    """As `deployments.follower.Versions`.

    Args:
        served: the servables of this gateway's graphs, by name.
        owner: the Serve application of this gateway.
        threads: of each model that is called here.
    """

    def __init__(self, served: Mapping[str, Served], owner: str, threads: int) -> None:
        self._served, self._owner = served, owner
        self._threads = threads
        self._pool = ThreadPoolExecutor(AT_ONCE, "millrace-load")
        self.services: Mapping[str, GraphService] = {}
        """The graphs that answer; empty before the first versions are there."""

    @property
    def servables(self) -> Set[str]:
        """Names of all servables here."""
        return self._served.keys()

    async def load(self, key: Key) -> Version:
        """A version, loaded or reached. Raises MillraceError with the reason."""
        served = self._served[key.servable]
        if served.stage is not None:
            return await self._reach(served, key)
        loop, options = asyncio.get_running_loop(), LoadOptions(threads=self._threads, keys=served.keys)
        return await loop.run_in_executor(
            self._pool, load_instance, served.node, served.root, options, key.number, key.digest
        )

    async def warm_up(self, version: Version) -> None:
        """Call a model once; a stage has done so."""
        if isinstance(version, Instance):
            await asyncio.get_running_loop().run_in_executor(self._pool, warm_up, version)

    def check(self, servable: str, version: Version) -> None:
        """Raises ConfigError or ModelError if the graph would not be with it what it is now."""
        served = self._served[servable]
        service = self.services.get(served.graph)
        if service is None or served.node.name not in service.executor.plan.graph.nodes:
            return  # the whole graph is checked when it starts; what stands in for a node has its inputs and outputs
        signatures = {**service.signatures, served.node.name: version.signature}
        found = signature_of(service.executor.plan, signatures)
        if found != service.signature:
            raise ModelError(
                f"node {served.node.name}: with version {version.version} graph {served.graph} would no longer give "
                f"what its clients know ({_outputs(service.signature)}) but {_outputs(found)}; deploy again with "
                "another `revision` if that is wanted"
            )

    def use(self, servable: str, version: Version) -> Occupant:
        """Let requests use it."""
        served = self._served[servable]
        service = self.services[served.graph]
        if served.node.name in service.signatures:
            service.signatures[served.node.name] = version.signature
        if isinstance(version, Instance):
            return service.executor.put(version)
        return service.executor.put_placed(served.node.name, version.call)

    async def free(self, version: Version) -> None:
        """Close a model; a stage is control's to end."""
        if isinstance(version, Instance):
            await asyncio.get_running_loop().run_in_executor(self._pool, version.close)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)

    async def _reach(self, served: Served, key: Key) -> Reached:
        # To look whether it exists would hold up the event loop; control says so.
        handle = serve.get_deployment_handle(STAGE, application_of(self._owner, key), _check_exists=False)
        description: StageDescription = await handle.describe.remote()
        node = served.node
        if isinstance(node.config, ModelsNode):
            models = ModelsCall(node.name, handle, node.config.idempotent)
            return Reached(models, description.signature, description.version)
        call = StageCall(node.name, handle, node.config.idempotent, description.version)
        return Reached(call, description.signature, description.version)


def _outputs(signature: Signature) -> str:
    return ", ".join(f"{name} {spec}" for name, spec in (signature.outputs or {}).items())
