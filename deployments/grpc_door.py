"""The gRPC door: `inference.GRPCInferenceService`, health and reflection over the graphs of one gateway.

Serve calls the methods by the name of the RPC, with the request's bytes. A method of a stream gets the requests as an
iterator and yields its answers.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message
from ray.serve.grpc_util import RayServegRPCContext

from configs.errors import MillraceError, NotFound
from deployments import statistics
from deployments.admin import Admin
from deployments.answering import GRAPH_VERSION, PLATFORM, Answering, Stopwatch
from deployments.grpc_edge import PROTOCOL, answers_errors, check_size, for_its_model, parsed, slot, time_left, traced
from deployments.grpc_infer_stream import InferStream
from deployments.grpc_standard import StandardCalls
from deployments.grpc_stream import interleave
from deployments.large import off_loop, size_of
from deployments.operations import Action
from deployments.protocols import classification, model_config, repository, v2_grpc, v2_proto
from deployments.protocols.terms import terms_of
from deployments.service import GraphService

EXTENSIONS = (
    classification.EXTENSION,
    model_config.EXTENSION,
    repository.EXTENSION,
    statistics.EXTENSION,
    "schedule_policy",
    "sequence",
)
"""What this door supports beyond the protocol, for the server's metadata."""


class GrpcDoor(StandardCalls):
    """Methods that Serve calls by the name of the RPC."""

    answering: Answering
    server: tuple[str, str]
    _max_request_bytes: int
    _admin: Admin

    @answers_errors
    async def ServerLive(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """The gateway runs."""
        return v2_proto.ServerLiveResponse(live=True)

    @answers_errors
    async def ServerReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """A gateway is only reached when all its graphs are loaded."""
        return v2_proto.ServerReadyResponse(ready=True)

    @answers_errors
    async def ServerMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Name, version, extensions."""
        return v2_grpc.server_metadata(*self.server, EXTENSIONS)

    @answers_errors
    async def ModelReady(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """A graph that this gateway knows is loaded; of others Triton too says that they are not ready."""
        asked = parsed(v2_proto.ModelReadyRequest, request)
        try:
            await self._there(asked, grpc_context)
        except NotFound:
            return v2_proto.ModelReadyResponse(ready=False)
        return v2_proto.ModelReadyResponse(ready=True)

    @answers_errors
    async def ModelMetadata(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Inputs and outputs of a graph."""
        asked = parsed(v2_proto.ModelMetadataRequest, request)
        service = await self._there(asked, grpc_context)
        return v2_grpc.model_metadata(service.asked_as, [GRAPH_VERSION], service.signature, PLATFORM)

    @answers_errors
    async def ModelConfig(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """A graph as Triton's model configuration."""
        asked = parsed(v2_proto.ModelConfigRequest, request)
        service = await self._there(asked, grpc_context)
        rows = service.executor.plan.graph.config.batch.max_rows
        document = model_config.model_config(service.asked_as, service.signature, PLATFORM, rows, service.decoupled)
        return v2_grpc.graph_config(document)

    @answers_errors
    async def ModelStatistics(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Statistics of one graph, or of all."""
        asked = parsed(v2_proto.ModelStatisticsRequest, request)
        graph = self.answering.service(asked.name, asked.version).name if asked.name else ""
        return v2_grpc.graph_statistics(self.answering.recorder.statistics.document(GRAPH_VERSION, graph))

    @answers_errors
    async def RepositoryIndex(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """All graphs, which are ready, and the versions of their servables."""
        ready = parsed(v2_proto.RepositoryIndexRequest, request).ready
        standing = self._admin.standing()
        names = [*self.answering.services, *await self.answering.models()]
        return v2_grpc.repository_index(repository.index(names, GRAPH_VERSION, standing, ready))

    @answers_errors
    async def RepositoryModelLoad(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Give the traffic to a version of a servable; a graph of the config is loaded already."""
        asked = parsed(v2_proto.RepositoryModelLoadRequest, request)
        if asked.model_name in self._admin.servables:
            await self._change(Action.LOAD, asked, grpc_context)
            return v2_proto.RepositoryModelLoadResponse()
        if self.answering.names_model(asked.model_name):
            raise repository.on_demand(asked.model_name)
        repository.load(asked.model_name, self.answering.services, dict.fromkeys(asked.parameters, ""))
        return v2_proto.RepositoryModelLoadResponse()

    @answers_errors
    async def RepositoryModelUnload(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Take a version of a servable out; graphs go with the config."""
        asked = parsed(v2_proto.RepositoryModelUnloadRequest, request)
        if asked.model_name not in self._admin.servables:
            many = self.answering.names_model(asked.model_name)
            raise repository.on_demand(asked.model_name) if many else repository.unload(asked.model_name)
        await self._change(Action.UNLOAD, asked, grpc_context)
        return v2_proto.RepositoryModelUnloadResponse()

    async def _change(self, action: Action, asked: Any, grpc_context: RayServegRPCContext) -> None:
        chosen = {name: each.WhichOneof("parameter_choice") for name, each in asked.parameters.items()}
        parameters = {name: getattr(asked.parameters[name], kind) if kind else "" for name, kind in chosen.items()}
        operation = repository.operation(action, asked.model_name, parameters)
        shown = dict(grpc_context.invocation_metadata()).get("authorization", "")
        await self._admin.ask(str(shown), operation)

    @answers_errors
    async def ModelInfer(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        """Run a graph."""
        if self.answering.tracing is None:
            return await self._infer(request, grpc_context)
        with traced(self.answering.tracing, grpc_context):
            return await self._infer(request, grpc_context)

    async def _infer(self, request: bytes, grpc_context: RayServegRPCContext) -> Message:
        watch, graph = Stopwatch.start(self.answering.recorder, PROTOCOL), ""
        try:
            check_size(request, self._max_request_bytes)
            proto = v2_grpc.parse_infer(request)
            service = self.answering.service(proto.model_name, proto.model_version)
            graph = service.name
            service = for_its_model(service, grpc_context)
            with slot(self.answering.clients, grpc_context):
                asked = await off_loop(len(request), v2_grpc.decode_infer, proto, service.signature)
                terms = terms_of(asked.parameters, time_left(grpc_context))
                answer = await self.answering.infer(service, asked, terms)
                outputs = answer.outputs
                filled = (service.asked_as, GRAPH_VERSION)
                reply = await off_loop(size_of(outputs), v2_grpc.encode_infer, asked, outputs, *filled)
        except MillraceError as error:
            watch.failed(graph, error, error.grpc_code)
            raise
        watch.answered(graph, answer.nodes, asked.row_count)
        return reply

    async def ModelStreamInfer(
        self, requests: AsyncIterator[bytes], grpc_context: RayServegRPCContext
    ) -> AsyncGenerator[Message, None]:
        """Run a graph for each request of a stream; an error is an answer too, and the stream goes on."""
        stream = InferStream(self.answering, self._max_request_bytes, grpc_context)
        async with aclosing(interleave(requests, stream.begin)) as answers:
            async for answer in answers:
                yield answer

    async def _there(self, asked: Any, grpc_context: RayServegRPCContext) -> GraphService:
        """The graph that is asked about, or for one of its many models. Raises NotFound if that is not there."""
        service = for_its_model(self.answering.service(asked.name, asked.version), grpc_context)
        await service.check_model()
        return service
