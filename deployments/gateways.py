"""What control knows of the gateways, and what it wants them to hold."""

import asyncio
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace

from configs.errors import ModelError
from deployments.orders import Degree, Orders, Report
from rollouts.life import Key

OTHERS_S = 0.5
"""Pause before a gateway of another configuration may ask again, of this control or of its own."""
GONE_POLL_S = 0.25
SILENT_S = 8.0
"""A gateway that has not asked for so long may be gone: is there still a process?"""


@dataclass
class _Heard:
    report: Report
    at: float


class Gateways:
    """Used from one event loop.

    Args:
        configuration: of the gateways that follow; others keep what they have until they end.
        lives: tells whether the actor of this name still lives.
        clock: seconds, monotonic.
    """

    def __init__(
        self, configuration: str, lives: Callable[[str], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.changed = asyncio.Event()
        """Set when a gateway tells something new."""
        self.running = 0
        """How many Serve says there are; fewer may be known here, as after a restart of control."""
        self._configuration, self._lives, self._clock = configuration, lives, clock
        self._heard: dict[str, _Heard] = {}
        self._news = asyncio.Condition()
        self._orders = Orders(0, 0, {}, {})
        self._begun = self._ended = False

    @property
    def complete(self) -> bool:
        """Whether every gateway that answers requests has told what it does."""
        return sum(not each.report.joining for each in self._heard.values()) >= self.running

    def acknowledged(self, servable: str) -> int:
        """The revision of the routes whose version of a servable every gateway that has the servable has taken over."""
        answering = [each.report.revisions for each in self._heard.values() if not each.report.joining]
        has = [revisions[servable] for revisions in answering if servable in revisions]
        return min(has, default=self._orders.revision) if self.complete else 0

    def held(self) -> Set[Key]:
        """Every version that any gateway which follows has anything of."""
        return frozenset(key for each in self._followers() for key in each.report.held)

    def ready(self) -> Set[Key]:
        """Every version that any gateway which follows could use, or uses."""
        return frozenset(
            key for each in self._followers() for key, how in each.report.held.items() if how is Degree.READY
        )

    async def all_heard(self) -> None:
        """Until every gateway that answers requests has told what it does."""
        async with self._news:
            await self._news.wait_for(lambda: self.complete)

    async def heard(self, report: Report) -> None:
        """Take note of what a gateway does."""
        before = self._heard.get(report.gateway)
        if before is not None and before.report.number > report.number:
            return
        self._heard[report.gateway] = _Heard(report, self._clock())
        if before is None or replace(before.report, number=report.number) != report:
            await self._tell()

    async def orders_after(self, report: Report, seen: int, wait_s: float) -> Orders | None:
        """The orders, as soon as they are others than the gateway has; None if there are none for it yet, or ever."""
        if report.configuration != self._configuration or self._ended:
            await asyncio.sleep(OTHERS_S)
            return None
        async with self._news:
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait_for(lambda: self._ended or (self._begun and self._orders.serial != seen))
            except TimeoutError:
                return None  # it asks again, which tells that it lives
            return None if self._ended else self._orders

    async def forget_the_dead(self) -> None:
        """Gateways that ended hold nothing and use nothing."""
        await self._forget_those_silent_for(SILENT_S)

    async def all_gone(self, patience_s: float) -> None:
        """Until no gateway lives, but no longer than this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._heard:
                    await self._forget_those_silent_for(0.0)
                    await asyncio.sleep(GONE_POLL_S)

    async def publish(self, revision: int, routes: Mapping[str, Key], failure: str) -> None:
        """Order these routes."""
        if (revision, routes, failure) != (self._orders.revision, self._orders.routes, self._orders.failure):
            await self._order(revision=revision, routes=dict(routes), failure=failure)

    async def despair(self, failure: str) -> None:
        """Tell gateways that start why they need not wait; those that run stay as they are."""
        await self.publish(self._orders.revision, self._orders.routes, failure)

    async def hold(self, key: Key, degree: Degree) -> None:
        """Have every gateway come so far with a version; those that begin meanwhile too, and at least one.

        Raises:
            ModelError: a gateway did not; then none is to hold it any more.
        """
        if key not in self._orders.hold:
            await self._order(hold={**self._orders.hold, key: self._orders.serial})
        attempt = self._orders.hold[key]
        async with self._news:
            await self._news.wait_for(lambda: self._failure(key, attempt) or self._have_come(key, degree))
        if reason := self._failure(key, attempt):
            await self.order_to_drop(key)
            raise ModelError(reason)

    async def drop(self, key: Key) -> None:
        """Have every gateway free a version, and wait until they have."""
        await self.order_to_drop(key)
        async with self._news:
            await self._news.wait_for(lambda: not any(key in each.report.held for each in self._followers()))

    async def order_to_drop(self, key: Key) -> None:
        """Have every gateway free a version."""
        if key in self._orders.hold:
            await self._order(hold={other: n for other, n in self._orders.hold.items() if other != key})

    async def begin(self, leader: int, hold: Set[Key], revision: int, routes: Mapping[str, Key]) -> None:
        """The first orders of a control: as the state says.

        Args:
            leader: number of the control; greater than all serials of those before.
        """
        self._begun = True
        self._orders = replace(self._orders, serial=leader)
        await self._order(hold=dict.fromkeys(hold, leader), revision=revision, routes=dict(routes))

    async def end(self) -> None:
        """No more orders from here: another control has taken over."""
        self._ended = True
        await self._tell()

    async def _forget_those_silent_for(self, seconds: float) -> None:
        now = self._clock()
        for name in [name for name, each in self._heard.items() if now - each.at >= seconds]:
            if not await asyncio.to_thread(self._lives, name):
                del self._heard[name]
                await self._tell()

    def _followers(self) -> list[_Heard]:
        return [each for each in self._heard.values() if each.report.configuration == self._configuration]

    def _have_come(self, key: Key, degree: Degree) -> bool:
        degrees = [each.report.held.get(key, 0) for each in self._followers()]
        return bool(degrees) and self.complete and min(degrees) >= degree

    def _failure(self, key: Key, attempt: int) -> str:
        failed = [each.report.failed[key] for each in self._followers() if key in each.report.failed]
        return next((reason for tried, reason in failed if tried == attempt), "")

    async def _order(self, **changes: object) -> None:
        self._orders = replace(self._orders, serial=self._orders.serial + 1, **changes)  # type: ignore[arg-type]
        await self._tell()

    async def _tell(self) -> None:
        self.changed.set()
        async with self._news:
            self._news.notify_all()
