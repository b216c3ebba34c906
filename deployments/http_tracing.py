"""A span around each HTTP request that runs a graph."""

from configs.errors import MillraceError
from deployments.http_messages import EventStream, Handler, Request, Response, error_response
from deployments.spans import Following, carried_in, carried_out, current, end
from deployments.tracing import Tracing
from monitoring.trace_context import TRACEPARENT

_HEADER = TRACEPARENT.encode()


def traced(handler: Handler, tracing: Tracing | None, protocol: str) -> Handler:
    """The handler with a span around it, whose `traceparent` the answer carries, also that of an error."""
    if tracing is None:
        return handler

    async def traced_handler(http: Request) -> Response | EventStream:
        span = tracing.request(carried_in(http.headers.items()), protocol)
        with current(span):
            try:
                answer = await handler(http)
            except MillraceError as error:
                answer = error_response(error)
            except BaseException as error:
                end(span, error)
                raise
        if told := carried_out(span):
            answer.headers.append((_HEADER, told.traceparent.encode()))
        if isinstance(answer, EventStream):
            answer.others = Following(span, answer.others)
        else:
            end(span)
        return answer

    return traced_handler
