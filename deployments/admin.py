"""The gateway's side of the admin API: asks control, within a time, for whoever shows a token."""

import asyncio
import logging
from collections.abc import Callable, Collection

from ray.serve.handle import DeploymentHandle

from configs.errors import MillraceError, Overloaded, Unauthorized
from configs.log import LOGGER
from deployments.operations import Answer, Operation
from deployments.operators import NO_TOKEN
from deployments.protocols.repository import Standing
from deployments.responses import AWAY, cancelling

logger = logging.getLogger(LOGGER)

DEADLINE_S = 8.0
"""Longer than a database, or another's transaction, is waited for."""
AT_ONCE = 16
"""Requests that wait for control; whoever floods it with wrong tokens must not keep gateways from it."""
_BEARER = "bearer "


def bearer(authorization: str) -> str:
    """The token that a caller shows. Raises Unauthorized if he shows none."""
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise Unauthorized(NO_TOKEN)
    return authorization[len(_BEARER) :].strip()


class Admin:
    """Used from one event loop.

    Args:
        control: its handle.
        servables: names of all servables of this gateway's graphs.
        standing: tells which of their versions are here.
    """

    def __init__(
        self, control: DeploymentHandle, servables: Collection[str], standing: Callable[[], list[Standing]] = list
    ) -> None:
        self.servables, self.standing = servables, standing
        self._control, self._waiting = control, 0

    async def ask(self, authorization: str, asked: Operation) -> Answer:
        """What control answers.

        Args:
            authorization: `Bearer` and the token; control says whether it is the right one.

        Raises:
            Unauthorized: no token, or a wrong one.
            Overloaded: control is away, or has enough to do; the same request may succeed later.
            MillraceError: as control refuses it.
        """
        token = bearer(authorization)
        if self._waiting >= AT_ONCE:
            raise Overloaded(f"{AT_ONCE} requests of operators wait for control; send this one again")
        self._waiting += 1
        try:
            answer = await self._answer(token, asked)
        finally:
            self._waiting -= 1
        if isinstance(answer, MillraceError):
            raise answer
        return answer

    async def _answer(self, token: str, asked: Operation) -> Answer | MillraceError:
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer: Answer | MillraceError = await cancelling(self._control.operate.remote(token, asked))
        except TimeoutError:
            raise Overloaded(f"control did not answer in {DEADLINE_S:g} s; models serve on, send this again") from None
        except AWAY as error:
            logger.warning("control could not answer an operator: %s", error)
            raise Overloaded("control is away; models serve on, send this again") from error
        return answer
