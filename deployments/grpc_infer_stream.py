"""The requests of one ModelStreamInfer: each runs a graph, which may answer several times.

Spec: Triton's decoupled models; an answer's parameter `triton_final_response` says whether it is the request's last.
"""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from google.protobuf.message import Message
from ray.serve.grpc_util import RayServegRPCContext

from configs.errors import MillraceError
from configs.log import LOGGER
from deployments.answering import GRAPH_VERSION, Answering, Stopwatch
from deployments.grpc_edge import PROTOCOL, check_size, for_its_model, slot, time_left, unforeseen
from deployments.grpc_stream import Begun
from deployments.large import off_loop, size_of
from deployments.protocols import v2_grpc
from deployments.protocols.request import InferRequest
from deployments.protocols.terms import terms_of
from deployments.protocols.v2_proto import ModelStreamInferResponse
from deployments.service import GraphService
from deployments.spans import Following, carried_in, current
from graphs.run import NodeTiming
from graphs.terms import Terms

logger = logging.getLogger(LOGGER)

EMPTY_FINAL = "triton_enable_empty_final_response"
"""Parameter of a request: after its last answer, send an empty one that says so."""
FINAL = "triton_final_response"
"""Parameter of an answer: whether it is the request's last."""


class InferStream:
    """Reads requests and answers them; every error is an answer with `error_message` and the request's id.

    Args:
        most_bytes: largest message.
        context: of the stream's call; its deadline holds for all requests.
    """

    def __init__(self, answering: Answering, most_bytes: int, context: RayServegRPCContext) -> None:
        self._answering = answering
        self._most_bytes = most_bytes
        self._context = context
        self._started = time.monotonic()

    async def begin(self, message: bytes) -> Begun[Message]:
        """Read a request and find its graph. Each request has a span of its own, below the stream's caller's."""
        tracing = self._answering.tracing
        if tracing is None:
            return await self._begin(message)
        span = tracing.request(carried_in(self._context.invocation_metadata()), PROTOCOL)
        with current(span):
            begun = await self._begin(message)
        return Begun(Following(span, begun.answers), begun.in_turn)

    async def _begin(self, message: bytes) -> Begun[Message]:
        watch, graph, proto = Stopwatch.start(self._answering.recorder, PROTOCOL), "", None
        try:
            check_size(message, self._most_bytes)
            proto = v2_grpc.parse_infer(message)
            service = self._answering.service(proto.model_name, proto.model_version)
            graph = service.name
            service = for_its_model(service, self._context)
            request = await off_loop(len(message), v2_grpc.decode_infer, proto, service.signature)
            terms = terms_of(request.parameters, self._time_left())
        except MillraceError as error:
            watch.failed(graph, error, error.grpc_code)
            return Begun(_only(_failure(error, proto.id if proto else "")), in_turn=True)
        except Exception as unexpected:  # the edge of the replica: the stream's other requests are answered
            logger.exception("ModelStreamInfer failed")
            internal = unforeseen(unexpected, self._answering.recorder)
            return Begun(_only(_failure(internal, proto.id if proto else "")), in_turn=True)
        return Begun(self._answer(service, request, terms, watch), in_turn=not service.decoupled)

    def _time_left(self) -> float | None:
        left = time_left(self._context)
        return None if left is None else left - (time.monotonic() - self._started)

    async def _answer(
        self, service: GraphService, request: InferRequest, terms: Terms, watch: Stopwatch
    ) -> AsyncGenerator[Message, None]:
        nodes: list[NodeTiming] = []
        decoupled = service.decoupled
        try:
            answers = self._answering.stream(service, request, terms)
            with slot(self._answering.clients, self._context):
                async with aclosing(answers):
                    async for answer in answers:
                        nodes += answer.nodes
                        response, outputs = ModelStreamInferResponse(), answer.outputs
                        filled = (service.asked_as, GRAPH_VERSION, response.infer_response)
                        await off_loop(size_of(outputs), v2_grpc.encode_infer, request, outputs, *filled)
                        yield _final(response, not decoupled)
            watch.answered(service.name, nodes, request.row_count)
            if decoupled and request.parameters.get(EMPTY_FINAL) is True:
                yield _empty_final(request, service.asked_as)
        except MillraceError as error:
            watch.failed(service.name, error, error.grpc_code)
            yield _failure(error, request.id)
        except Exception as unexpected:  # the edge of the replica: the caller gets an answer
            logger.exception("ModelStreamInfer failed")
            yield _failure(unforeseen(unexpected, self._answering.recorder), request.id)


async def _only(answer: Message) -> AsyncGenerator[Message, None]:
    yield answer


def _failure(error: MillraceError, id_: str) -> Message:
    response = ModelStreamInferResponse(error_message=error.message)
    response.infer_response.id = id_
    return response


def _empty_final(request: InferRequest, graph: str) -> Message:
    response = ModelStreamInferResponse()
    response.infer_response.model_name, response.infer_response.model_version = graph, GRAPH_VERSION
    response.infer_response.id = request.id
    return _final(response, True)


def _final(response: Any, last: bool) -> Message:
    response.infer_response.parameters[FINAL].bool_param = last
    return cast(Message, response)
