"""The current span of a request: taken from a caller's headers, handed to other processes, ended at the right time."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from deployments.departures import ClientLeft
from monitoring.trace_context import TRACEPARENT, TRACESTATE, TraceContext, parse

T = TypeVar("T")

_LEFT = (asyncio.CancelledError, GeneratorExit, ClientLeft)


class Carried(NamedTuple):
    """A span as it travels: the values of W3C Trace Context's two headers."""

    traceparent: str = ""
    tracestate: str = ""


NO_CALLER = Carried()
"""Of a request that comes without a span."""


def context_of(carried: Carried) -> Context:
    """A context whose current span is the caller's; an empty one if the caller sent none, or none that can be read."""
    caller = parse(carried.traceparent, carried.tracestate)
    if caller is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if caller.sampled else TraceFlags.DEFAULT)
    span = NonRecordingSpan(SpanContext(caller.trace_id, caller.span_id, True, flags, TraceState(caller.state)))
    return set_span_in_context(span, Context())


def carried_in(metadata: Iterable[tuple[Any, Any]]) -> Carried:
    """The two headers of a request, given as pairs of text or of bytes. Repeated ones are joined, as in HTTP."""
    found: dict[str, list[str]] = {TRACEPARENT: [], TRACESTATE: []}
    for key, value in metadata:
        name = key if isinstance(key, str) else key.decode("latin-1")
        if name in found:
            found[name].append(value if isinstance(value, str) else value.decode("latin-1"))
    return Carried(",".join(found[TRACEPARENT]), ",".join(found[TRACESTATE]))


def carried_out(span: Span | None = None) -> Carried | None:
    """A span, by default the current one, for another process; None if there is none."""
    context = (span or trace.get_current_span()).get_span_context()
    if not context.is_valid:
        return None
    sampled = context.trace_flags.sampled
    told = TraceContext(context.trace_id, context.span_id, sampled, tuple(context.trace_state.items()))
    return Carried(told.traceparent, told.tracestate)


def told(name: str, rows: int) -> None:
    """Note on the request's span which graph it is for, once that is known."""
    span = trace.get_current_span()
    span.update_name(name)
    span.set_attributes({"millrace.graph": name, "millrace.rows": rows})


def failed(error: Exception, code: str) -> None:
    """Note on the request's span how it ended."""
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes({"error.type": type(error).__name__, "millrace.code": code})
        span.set_status(Status(StatusCode.ERROR, str(error)))


@contextmanager
def current(span: Span) -> Iterator[None]:
    """Within it the span is the current one. Within one turn of the event loop's task, as all contexts are."""
    token = attach(set_span_in_context(span))
    try:
        yield
    finally:
        detach(token)


def end(span: Span, error: BaseException | None = None) -> None:
    """End a span; a second time does nothing."""
    if not span.is_recording():
        return
    if isinstance(error, _LEFT):
        span.set_status(Status(StatusCode.ERROR, "cancelled"))
    elif error is not None:
        span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
    span.end()


@contextmanager
def ending(span: Span) -> Iterator[None]:
    """Within it the span is the current one; it ends with it."""
    try:
        with current(span):
            yield
    except BaseException as error:
        end(span, error)
        raise
    end(span)


class Following(AsyncGenerator[T, None]):
    """What an asynchronous generator gives, which runs with the span as the current one; it ends with it.

    No generator itself: a context that is entered in one step and left in another would leak to the caller between.
    """

    def __init__(self, span: Span, answers: AsyncGenerator[T, None]) -> None:
        self._span, self._answers = span, answers

    async def asend(self, value: None) -> T:
        """The next answer."""
        with self._step():
            return await self._answers.asend(value)

    async def athrow(self, kind: Any, value: Any = None, traceback: Any = None) -> T:
        """Raise in the generator."""
        with self._step():
            return await self._answers.athrow(kind if value is None else value)

    async def aclose(self) -> None:
        """Close the generator, wherever it is."""
        with self._step():
            await self._answers.aclose()
        end(self._span, GeneratorExit())

    @contextmanager
    def _step(self) -> Iterator[None]:
        try:
            with current(self._span):
                yield
        except StopAsyncIteration:
            end(self._span)
            raise
        except BaseException as error:
            end(self._span, error)
            raise
