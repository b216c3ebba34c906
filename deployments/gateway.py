"""The gateway: the ingress deployment that decodes requests, runs the graphs and encodes the answers."""

import asyncio
import logging
import math
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.errors import MillraceError
from configs.log import LOGGER
from configs.serve import AppArgs
from configs.tensors import Rows, Signature
from deployments.admin import Admin
from deployments.answering import Answering, Stopwatch
from deployments.catalogue import Catalogue, inline_nodes
from deployments.clients import Clients
from deployments.follower import Follower
from deployments.grpc_door import GrpcDoor
from deployments.http_door import HttpDoor
from deployments.niceness import yielding
from deployments.protocols import handle
from deployments.recorder import Recorder
from deployments.routers import import_routers
from deployments.service import GraphService, GraphSpec, make_service
from deployments.spans import Carried, ending
from deployments.tracing import Tracing, start_tracing
from deployments.versions_here import Reached, Version, VersionsHere
from graphs.instances import Instance
from graphs.load import load_all
from graphs.terms import DEFAULT_PRIORITY, Terms
from servables.base import LoadOptions

logger = logging.getLogger(LOGGER)


class Gateway(GrpcDoor):
    """Serves one or several graphs. Ready only when every node of every graph is loaded.

    Args:
        graphs: the checked graphs.
        catalogue: their servables.
        control: says which versions are used.
        args: the application's arguments.
    """

    async def __init__(  # type: ignore[misc]
        self, graphs: Sequence[GraphSpec], catalogue: Catalogue, control: DeploymentHandle, args: AppArgs
    ) -> None:
        logger.setLevel(args.log_level)
        tracing = start_tracing(args.tracing, args.name)
        context = serve.get_replica_context()
        self._versions = VersionsHere(catalogue.served, context.app_name, args.gateway.threads)
        name = ray.get_runtime_context().get_actor_name() or ""
        self._follower: Follower[Version] = Follower(control, name, catalogue.configuration, self._versions)
        try:
            with yielding():
                services = await self._start(graphs, catalogue, tracing)
        except BaseException:
            await self._follower.close()
            raise
        recorder = Recorder({name: s.executor for name, s in services.items()})
        for name, service in services.items():
            service.executor.on_events = partial(recorder.happened, name)
        clients = Clients(args.client_limit) if args.client_limit is not None else None
        self.answering = Answering(services, recorder, tracing, clients)
        self.server = (args.name, version("millrace"))
        self._max_request_bytes = args.max_request_bytes
        self._routers = import_routers(args.routers, services)
        self._admin = Admin(control, catalogue.served, self._follower.standing)
        self._versions.services = services
        self._follower.serve()

    async def _start(
        self, graphs: Sequence[GraphSpec], catalogue: Catalogue, tracing: Tracing | None
    ) -> dict[str, GraphService]:
        """Every graph with its code and the versions that have the traffic. Raises MillraceError with the reason."""
        code = [await asyncio.to_thread(_load_code, spec, catalogue) for spec in graphs]
        first = await self._follower.first()
        services = {}
        for spec, instances in zip(graphs, code, strict=True):
            served = {s.node.name: first[s.name] for s in catalogue.served.values() if s.graph == spec.flat.name}
            here = {node: each for node, each in served.items() if isinstance(each, Instance)}
            stages = {node: each for node, each in served.items() if isinstance(each, Reached)}
            services[spec.flat.name] = make_service(spec, instances | here, stages, tracing)
        return services

    async def __serve_build_asgi_app__(self) -> HttpDoor:
        """What Serve runs for HTTP requests."""
        return HttpDoor(self.answering, *self.server, self._max_request_bytes, self._routers, self._admin)

    async def infer(
        self,
        graph: str,
        rows: Rows,
        left_s: float = math.inf,
        priority: int = DEFAULT_PRIORITY,
        carried: Carried | None = None,
    ) -> Rows | MillraceError:
        """For handles: outputs of a graph for arrays. Errors are returned: raised, Ray would wrap them.

        Args:
            left_s: seconds until the caller's deadline.
            carried: the caller's span.
        """
        terms = Terms.within(left_s, priority)
        if self.answering.tracing is None:
            return await self._infer_rows(graph, rows, terms)
        with ending(self.answering.tracing.request(carried or Carried(), "handle")):
            return await self._infer_rows(graph, rows, terms)

    async def _infer_rows(self, graph: str, rows: Rows, terms: Terms) -> Rows | MillraceError:
        watch, known = Stopwatch.start(self.answering.recorder, "handle"), ""
        try:
            service = self.answering.service(graph)
            known = service.name
            answer = await self.answering.infer(service, handle.decode(rows, graph, service.signature), terms)
        except MillraceError as error:
            watch.failed(known, error, error.grpc_code)
            return error
        watch.answered(known, answer.nodes, len(next(iter(rows.values()))))
        return answer.outputs

    async def describe(self, graph: str) -> Signature | MillraceError:
        """For handles: inputs and outputs of a graph."""
        try:
            service = self.answering.service(graph)
            await service.check_model()
            return service.signature
        except MillraceError as error:
            return error

    async def check_health(self) -> None:
        """Called by Serve on the event loop: an answer proves that the loop runs."""

    async def __del__(self) -> None:
        """Called by Serve when the replica stops, after its requests are answered."""
        answering = getattr(self, "answering", None)  # absent if __init__ failed
        if answering is not None:
            await self._follower.close()
            await answering.recorder.close()
            for service in answering.services.values():
                service.executor.close()
            self._versions.close()
            if answering.tracing is not None:
                await asyncio.to_thread(answering.tracing.close)


def _load_code(spec: GraphSpec, catalogue: Catalogue) -> dict[str, Instance]:
    """The nodes of a graph that have no versions."""
    nodes = inline_nodes(spec.flat, catalogue.served)
    return load_all(nodes, spec.root, LoadOptions(threads=spec.threads))
