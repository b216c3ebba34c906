"""The gateway: the ingress deployment that decodes requests, runs the graphs and encodes the answers."""

import asyncio
import logging
import math
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from ray.serve.handle import DeploymentHandle

from configs.errors import MillraceError
from configs.log import LOGGER
from configs.serve import AppArgs
from configs.tensors import Rows, Signature
from deployments.answering import Answering, Stopwatch
from deployments.clients import Clients
from deployments.control import StageNames
from deployments.grpc_door import GrpcDoor
from deployments.http_door import HttpDoor
from deployments.protocols import handle
from deployments.recorder import Recorder
from deployments.routers import import_routers
from deployments.service import GraphSpec, start_service
from deployments.spans import Carried, ending
from deployments.tracing import start_tracing
from graphs.terms import DEFAULT_PRIORITY, Terms

logger = logging.getLogger(LOGGER)


class Gateway(GrpcDoor):
    """Serves one or several graphs. Ready only when every node of every graph is loaded.

    Args:
        graphs: the checked graphs.
        stages: which placed nodes these graphs need.
        control: brings the placed nodes up; asked at the start.
        args: the application's arguments.
    """

    async def __init__(  # type: ignore[misc]
        self, graphs: Sequence[GraphSpec], stages: StageNames, control: DeploymentHandle, args: AppArgs
    ) -> None:
        while (routes := await control.routes.remote(stages)) is None:  # noqa: ASYNC110  nobody here sets an event
            await asyncio.sleep(0.2)  # the control of the version before still answers
        tracing = start_tracing(args.tracing, args.name)
        services = {}
        for spec in graphs:
            name = spec.flat.name
            applications = {node: app for (graph, node), app in routes.items() if graph == name}
            services[name] = await start_service(spec, applications, tracing)
        versions = {(name, node): v for name, service in services.items() for node, v in service.versions.items()}
        recorder = Recorder(versions, {name: s.executor for name, s in services.items()})
        for name, service in services.items():
            service.executor.on_events = partial(recorder.happened, name)
        clients = Clients(args.client_limit) if args.client_limit is not None else None
        self.answering = Answering(services, recorder, tracing, clients)
        self.server = (args.name, version("millrace"))
        self._max_request_bytes = args.max_request_bytes
        self._routers = import_routers(args.routers, services)
        logger.setLevel(args.log_level)

    async def __serve_build_asgi_app__(self) -> HttpDoor:
        """What Serve runs for HTTP requests."""
        return HttpDoor(self.answering, *self.server, self._max_request_bytes, self._routers)

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
            known = graph
            answer = await self.answering.infer(service, handle.decode(rows, graph, service.signature), terms)
        except MillraceError as error:
            watch.failed(known, error, error.grpc_code)
            return error
        watch.answered(graph, answer.nodes, len(next(iter(rows.values()))))
        return answer.outputs

    async def describe(self, graph: str) -> Signature | MillraceError:
        """For handles: inputs and outputs of a graph."""
        try:
            return self.answering.service(graph).signature
        except MillraceError as error:
            return error

    async def check_health(self) -> None:
        """Called by Serve on the event loop: an answer proves that the loop runs."""

    async def __del__(self) -> None:
        """Called by Serve when the replica stops, after its requests are answered."""
        answering = getattr(self, "answering", None)  # absent if __init__ failed
        if answering is not None:
            await answering.recorder.close()
            for service in answering.services.values():
                service.executor.close()
            if answering.tracing is not None:
                await asyncio.to_thread(answering.tracing.close)
