"""What every HTTP route that runs a graph does: decode, run on its terms, encode, count."""

import asyncio
from typing import Protocol

from configs.errors import MillraceError
from configs.tensors import Rows
from deployments.answering import Answering, Stopwatch
from deployments.http_messages import Handler, Headers, Request, Response
from deployments.http_tracing import traced
from deployments.large import LARGE, size_of
from deployments.protocols.request import InferRequest
from deployments.protocols.terms import TIMEOUT_HEADER, terms_of, timeout_header
from deployments.service import GraphService
from graphs.terms import Terms
from monitoring.server_timing import server_timing

_TIMEOUT = TIMEOUT_HEADER.encode()


class Codec(Protocol):
    """One protocol's form of requests and answers of one graph."""

    protocol: str
    """Its name in metrics."""

    def decode(self, http: Request) -> InferRequest:
        """A checked request. Raises RequestError or Unsupported."""
        ...

    def encode(self, request: InferRequest, outputs: Rows) -> tuple[bytes, Headers]:
        """Body and headers of the answer. Raises InvalidInput for outputs that the protocol cannot carry."""
        ...


def infer_handler(answering: Answering, service: GraphService, codec: Codec) -> Handler:
    """Answers one request by one run of the graph. Written out, for speed, instead of by `off_loop`."""

    async def handler(http: Request) -> Response:
        watch = Stopwatch.start(answering.recorder, codec.protocol)
        try:
            with answering.slot(http.headers):
                if len(http.body) <= LARGE:
                    request = codec.decode(http)
                else:
                    request = await asyncio.to_thread(codec.decode, http)
                answer = await answering.infer(service, request, terms(http, request))
                outputs = answer.outputs
                if size_of(outputs) <= LARGE:
                    body, headers = codec.encode(request, outputs)
                else:
                    body, headers = await asyncio.to_thread(codec.encode, request, outputs)
        except MillraceError as error:
            watch.failed(service.name, error, str(error.http_status))
            raise
        timing = server_timing(answer.nodes, watch.answered(service.name, answer.nodes, request.row_count))
        headers.append((b"server-timing", timing.encode()))
        return Response(body, headers)

    return traced(handler, answering.tracing, codec.protocol)


def terms(http: Request, request: InferRequest) -> Terms:
    """The request's deadline and priority. Raises InvalidInput for values that are neither."""
    header = http.headers.get(_TIMEOUT)
    timeout_s = None if header is None else timeout_header(header.decode("latin-1"))
    return terms_of(request.parameters, timeout_s, http.arrived)
