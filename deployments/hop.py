"""One hop: calls a placed node's stage by handle, in messages that Ray accepts, and again if a replica goes away."""

import asyncio
import logging
import sys
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import replace

import grpc
import numpy as np
import ray.serve.context as serve_context
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from configs.errors import MillraceError, NodeDied, NodeError, RowErrors, TooLarge, Unavailable
from configs.log import LOGGER
from configs.tensors import Rows
from deployments.responses import cancelling
from deployments.spans import carried_out
from graphs.batcher import BatchTiming
from graphs.sequences import Sequence
from graphs.terms import UNHURRIED, Terms

logger = logging.getLogger(LOGGER)

TRIES = 8
"""Calls of a stage for the same rows, while none reached a replica. What one held when it died is sent once more."""
FIRST_PAUSE_S = 0.05
"""Before the second try; twice as long before each further one. All of them take the seconds until Serve knows that a
replica is gone, and another one is there."""
_NOT_REACHED = "failed to connect"
"""In the words of gRPC when a replica that is gone was never asked."""
MESSAGE_BYTES = 3 << 20
"""Bytes of arrays in one message, either way: below 4 MiB, the limit where Ray's own setting was not raised."""

Answer = tuple[Rows, BatchTiming]
Call = Callable[..., DeploymentResponse]
"""Sends a message to a replica."""


class StageCall:
    """Calls a stage by handle, straight to a replica over gRPC.

    Many rows go in several messages at the same time, which also shares them among the replicas.

    Args:
        idempotent: whether rows that a replica had when it died may be sent to another one.
        version: of the node's servable; empty for code.
    """

    def __init__(self, node: str, handle: DeploymentHandle, idempotent: bool = True, version: str = "") -> None:
        self.version = version
        self._node = node
        self._idempotent = idempotent
        self._apart = asyncio.Lock()
        # Arrays go in the message: by reference they would pass through the object store, which costs more.
        self._handle = handle.options(
            method_name="run", _by_reference=False, request_serialization="pickle", response_serialization="pickle"
        )
        self._session: Call | None = None
        self._answer_row_bytes = 0.0
        """Largest seen: what goes out says nothing about the size of what comes back."""

    def session(self, name: str) -> "StageCall":
        """Calls that a request router may tell from those of other sessions."""
        made = copy(self)
        made._session = _apart(self._handle.options(session_id=name))
        return made

    async def __call__(self, rows: Rows, count: int, terms: Terms = UNHURRIED) -> Answer:
        """Outputs of the node for `count` rows, in their order.

        Raises:
            NodeError: the node failed, or its process ended twice with these rows.
            TooLarge: a row is larger than a message may be.
            Unavailable: no replica answered.
            MillraceError: what the node answers with.
        """
        row_bytes = max(_bytes(rows) / count, self._answer_row_bytes, 1)
        fitting = max(1, int(MESSAGE_BYTES / row_bytes))
        return await (
            self._send(rows, count, terms) if count <= fitting else self._send_parts(rows, count, fitting, terms)
        )

    async def _send_parts(self, rows: Rows, count: int, size: int, terms: Terms) -> Answer:
        if terms.sequence is not None:
            return await self._send_in_order(rows, count, size, terms, terms.sequence)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._send_part(rows, start, min(start + size, count), terms))
                    for start in range(0, count, size)
                ]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return self._joined([task.result() for task in tasks])

    async def _send_in_order(self, rows: Rows, count: int, size: int, terms: Terms, sequence: Sequence) -> Answer:
        """One part after another: together they would meet a state that others of them change, or begin anew."""
        parts = []
        for start in range(0, count, size):
            end = min(start + size, count)
            own = replace(sequence, start=sequence.start and start == 0, end=sequence.end and end == count)
            parts.append(await self._send_part(rows, start, end, replace(terms, sequence=own)))
        return self._joined(parts)

    async def _send_part(self, rows: Rows, start: int, end: int, terms: Terms) -> Answer:
        try:
            return await self._send({name: array[start:end] for name, array in rows.items()}, end - start, terms)
        except RowErrors as error:
            raise error.at(range(start, end)) from None

    async def _send(self, rows: Rows, count: int, terms: Terms) -> Answer:
        """One message; if it or its answer is too large for Ray, two halves."""
        try:
            outputs, timing = await self._answer(rows, count, terms)
        except grpc.aio.AioRpcError as error:
            if count > 1 and terms.sequence is None:  # else the state may have changed already
                return await self._send_parts(rows, count, (count + 1) // 2, terms)
            raise TooLarge(
                f"node {self._node}: a row of {_bytes(rows)} bytes, or its answer, does not fit into a message between "
                f"gateway and stage ({error.details()}); send smaller rows, or raise "
                f"RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH in the environment that Ray is started with"
            ) from None
        self._answer_row_bytes = max(self._answer_row_bytes, _bytes(outputs) / count)
        return outputs, timing

    async def _answer(self, rows: Rows, count: int, terms: Terms) -> Answer:
        """What a replica answers. Raises AioRpcError only for a message that is too large."""
        lost = False
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                answer = await (self._call_apart if lost else self._call)(rows, count, terms)
            except RayTaskError as error:  # it answered, with what it should not have raised
                raise NodeError(f"node {self._node} failed in its stage: {error.cause}") from error
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                reason, reached = error.code().name, _had_the_rows(error)
            except (RayError, RayServeException, OSError) as error:
                reason, reached = type(error).__name__, _had_the_rows(error)
            else:
                if not isinstance(answer, MillraceError):
                    return answer
                if not isinstance(answer, Unavailable):
                    raise answer
                reason, reached = answer.message, False  # the replica shuts down: another one may answer
            logger.warning("node %s: try %d of %d failed: %s", self._node, attempt + 1, TRIES, reason)
            if reached and (lost or not self._idempotent):
                raise NodeDied(self._died(lost))
            lost = lost or reached
        raise Unavailable(f"node {self._node}: no replica answered in {TRIES} tries ({reason}); send the request again")

    def _died(self, again: bool) -> str:
        what = "its process ended twice while it had these rows" if again else "its process ended; it is not idempotent"
        return f"node {self._node} failed: {what}; the log of the stage says why"

    async def _call_apart(self, rows: Rows, count: int, terms: Terms) -> Answer | MillraceError:
        """The second try of rows that were in a process when it ended: one after another.

        One of them may have ended it. Together they would end the next process too, and none would be answered.
        """
        async with self._apart:
            return await self._call(rows, count, terms)

    async def _call(self, rows: Rows, count: int, terms: Terms) -> Answer | MillraceError:
        """One call; its answer, or the error that the stage returns."""
        sequence = terms.sequence
        run = self._session or (self._handle.remote if sequence is None else self._in_sequence(sequence))
        answer: Answer | MillraceError = await cancelling(
            run(rows, count, terms.left_s, terms.priority, sequence, carried_out())
        )
        return answer

    def _in_sequence(self, sequence: Sequence) -> Call:
        return _apart(self._handle.options(session_id=str(sequence.id)))

    def _joined(self, answers: list[Answer]) -> Answer:
        return joined(self._node, answers)


def _apart(handle: DeploymentHandle) -> Call:
    """Calls of a handle, each as a request of its own.

    Serve 2.60's routers by session tell calls by the request that makes them: of two that wait for a replica at the
    same time, one would wait for ever.
    """

    def call(*arguments: object) -> DeploymentResponse:
        context = serve_context._serve_request_context
        token = context.set(replace(context.get() or serve_context._RequestContext(), _internal_request_id=""))
        try:
            return handle.remote(*arguments)
        finally:
            context.reset(token)

    return call


def _had_the_rows(error: Exception) -> bool:
    """Whether a replica had the rows when it ended; one that stops in good order cancels instead."""
    # Serve raises its own error for gRPC's UNAVAILABLE, and tries again itself where the replica had not accepted.
    cause = error.__context__ if isinstance(error, ActorUnavailableError) else error
    if isinstance(cause, grpc.aio.AioRpcError):
        return cause.code() is grpc.StatusCode.UNAVAILABLE and _NOT_REACHED not in (cause.details() or "")
    return isinstance(error, ActorDiedError | ActorUnavailableError)


def joined(node: str, answers: Collection[Answer]) -> Answer:
    """The answer of a call that went in parts, one after the other. Raises NodeError for outputs that differ."""
    first = next(iter(answers))[0]
    try:
        outputs = {name: np.concatenate([part[name] for part, _ in answers]) for name in first}
    except (KeyError, ValueError) as error:
        raise NodeError(
            f"node {node} gave outputs that differ between the parts of a call ({error}); "
            f"give the same names and shapes whatever the rows, or send fewer rows"
        ) from None
    return outputs, _joined_timing([timing for _, timing in answers])


def _joined_timing(parts: list[BatchTiming]) -> BatchTiming:
    """Of a call that went in parts; those that shared a call with each other count once: at the one that leads it."""
    calls = [part for part in parts if part.leads] or parts[:1]
    return BatchTiming(
        queue_s=min(part.queue_s for part in parts),
        batch_s=sum(call.batch_s for call in calls),
        compute_s={node: sum(call.compute_s[node] for call in calls) for node in calls[0].compute_s},
        rows=max(call.rows for call in calls),
        leads=any(part.leads for part in parts),
    )


def _bytes(rows: Rows) -> int:
    """Bytes of the arrays, with those of the objects that BYTES arrays refer to."""
    objects = sum(sum(map(sys.getsizeof, array.flat)) for array in rows.values() if array.dtype.hasobject)
    return objects + sum(array.nbytes for array in rows.values())
