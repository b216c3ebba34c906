"""The gateway's side of control: holds the versions that are ordered, and uses those that the routes name."""

import asyncio
import logging
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from ray.serve.handle import DeploymentHandle

from configs.errors import MillraceError, ModelError
from configs.log import LOGGER
from deployments.orders import Degree, Orders, Report
from deployments.protocols.repository import Standing
from deployments.responses import AWAY
from graphs.slot import Occupant
from rollouts.life import Key

V = TypeVar("V")

logger = logging.getLogger(LOGGER)

AGAIN_S = 0.5
"""Pause before control is asked again after it was away, or another's."""
DRAIN_POLL_S = 0.01
"""How often it is looked whether the last call of an old version has ended."""
RELOAD_S = 10.0
"""Pause after which a version that has the traffic, and could not be loaded here, is loaded again."""


class Versions(Protocol[V]):
    """How versions are loaded and used in this process."""

    @property
    def servables(self) -> Set[str]:
        """Of which it has versions."""
        ...

    async def load(self, key: Key) -> V:
        """Make a version callable. Raises MillraceError, or anything."""
        ...

    async def warm_up(self, version: V) -> None:
        """Call it once, before a request does. Raises MillraceError."""
        ...

    def check(self, servable: str, version: V) -> None:
        """Raises MillraceError if it does not fit the graph."""
        ...

    def use(self, servable: str, version: V) -> Occupant:
        """Let calls from now on use it. Gives what they used before."""
        ...

    async def free(self, version: V) -> None:
        """Free what it has."""
        ...


@dataclass
class _Held(Generic[V]):
    version: V
    degree: Degree


class Follower(Generic[V]):
    """Asks control for orders for as long as the gateway runs; while control is away, everything stays as it is.

    Args:
        control: its handle.
        gateway: name of this gateway's actor.
        configuration: of its catalogue.
        versions: loads them.
    """

    def __init__(self, control: DeploymentHandle, gateway: str, configuration: str, versions: Versions[V]) -> None:
        self._control, self._versions = control, versions
        self._report = Report(gateway, configuration)
        self._orders: Orders | None = None
        self._changed = asyncio.Event()
        self._held: dict[Key, _Held[V]] = {}
        self._busy: dict[Key, asyncio.Task[None]] = {}
        """Versions that are being loaded or freed."""
        self._failed: dict[Key, tuple[int, str]] = {}
        self._used: dict[str, Key] = {}
        self._leaving: list[tuple[Key, Occupant]] = []
        """Versions that are no longer used, but for calls that began before."""
        self._first: asyncio.Future[Mapping[str, V]] = asyncio.get_running_loop().create_future()
        self._serving = False
        self._taken_over: dict[str, int] = {}
        """Servable → the revision of the routes since which only the version that they name has been called."""
        self._tasks = [asyncio.create_task(self._ask_forever()), asyncio.create_task(self._work_forever())]
        self._telling: asyncio.Task[None] | None = None

    async def first(self) -> Mapping[str, V]:
        """Servable → the version to begin with. Raises MillraceError if there is none to be had."""
        return await self._first

    def serve(self) -> None:
        """The gateway uses what `first` gave, and answers requests from now on."""
        self._serving = True
        for key, held in self._held.items():
            if held.degree is Degree.READY and key not in self._used.values() and key not in self._busy:
                # When it was checked there was no graph yet that it could fail to fit.
                held.degree = Degree.WARM
                self._busy[key] = asyncio.create_task(self._check_again(key, held))
        self._changed.set()

    async def _check_again(self, key: Key, held: _Held[V]) -> None:
        try:
            self._versions.check(key.servable, held.version)
            held.degree = Degree.READY
        except MillraceError as error:
            attempt = self._orders.hold.get(key, 0) if self._orders is not None else 0
            await self._give_up(key, attempt, error.message)
        finally:
            del self._busy[key]
            self._changed.set()

    def standing(self) -> list[Standing]:
        """Every version here, and whether it answers."""
        used = set(self._used.values())
        loading = {*(key for key in self._busy if key not in self._held), *self._held} - used
        return [
            *(_standing(key, "READY") for key in used),
            *(
                _standing(key, "UNAVAILABLE", "no traffic") if self._is_ready(key) else _standing(key, "LOADING")
                for key in loading
            ),
            *(_standing(key, "UNAVAILABLE", why) for key, (_, why) in self._failed.items() if key not in used),
        ]

    async def close(self) -> None:
        """Stop following."""
        tasks = [*self._tasks, *self._busy.values(), *([self._telling] if self._telling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_forever(self) -> None:
        while True:
            try:
                await self._ask()
            except AWAY as error:
                logger.debug("control is away: %s", error)
                await asyncio.sleep(AGAIN_S)
            except Exception:  # a gateway that follows no more would keep old versions everywhere
                logger.exception("control could not be asked; it is asked again")
                await asyncio.sleep(AGAIN_S)

    async def _ask(self) -> None:
        seen = self._orders.serial if self._orders is not None else -1
        orders: Orders | None = await self._control.watch.remote(self._report, seen)
        if orders is None or orders.serial <= seen:  # older ones come from a control that another has replaced
            await asyncio.sleep(DRAIN_POLL_S)
        else:
            self._orders = orders
            self._changed.set()

    async def _work_forever(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_POLL_S if self._leaving else None):
                    await self._changed.wait()
            self._changed.clear()
            try:
                if self._orders is not None:
                    self._follow(self._orders)
            except Exception:  # what failed for one version must not end the following of others
                logger.exception("orders could not be followed; they are tried again")
                await asyncio.sleep(AGAIN_S)
                self._changed.set()

    def _follow(self, orders: Orders) -> None:
        wanted = self._wanted(orders)
        self._load_missing(wanted)
        if self._serving:
            self._take_over(orders)
        elif not self._first.done():
            self._begin(orders)
        self._free_unwanted(wanted)
        self._tell()

    def _wanted(self, orders: Orders) -> dict[Key, int]:
        """Versions to hold → the attempt."""
        mine = self._versions.servables
        wanted = {**dict.fromkeys(orders.routes.values(), 0), **orders.hold}
        return {key: attempt for key, attempt in wanted.items() if key.servable in mine}

    def _load_missing(self, wanted: Mapping[Key, int]) -> None:
        for key, attempt in wanted.items():
            if key in self._held or key in self._busy:
                continue
            if key not in self._failed or self._failed[key][0] != attempt:
                self._failed.pop(key, None)
                self._busy[key] = asyncio.create_task(self._load(key, attempt))

    async def _load(self, key: Key, attempt: int) -> None:
        try:
            version = await self._versions.load(key)
            held = self._held[key] = _Held(version, Degree.LOADED)
            self._changed.set()
            await self._versions.warm_up(version)
            held.degree = Degree.WARM
            self._changed.set()
            self._versions.check(key.servable, version)
            held.degree = Degree.READY
        except MillraceError as error:
            await self._give_up(key, attempt, error.message)
        except Exception as error:  # whatever a framework raises is this version's reason
            logger.exception("%s failed", key)
            await self._give_up(key, attempt, f"{type(error).__name__}: {error}")
        finally:
            del self._busy[key]
            self._changed.set()

    async def _give_up(self, key: Key, attempt: int, why: str) -> None:
        logger.warning("%s is not used: %s", key, why)
        self._failed[key] = (attempt, why)
        if key in self._held:
            await self._close(self._held.pop(key).version, key)
        if self._orders is not None and key in self._orders.routes.values():
            asyncio.get_running_loop().call_later(RELOAD_S, self._forgive, key)

    def _forgive(self, key: Key) -> None:
        if key not in self._busy:
            self._failed.pop(key, None)
            self._changed.set()

    def _begin(self, orders: Orders) -> None:
        routed = {name: key for name, key in orders.routes.items() if name in self._versions.servables}
        failed = [self._failed[key][1] for key in routed.values() if key in self._failed]
        if failed or orders.failure:
            self._first.set_exception(ModelError("; ".join(failed) or orders.failure))
        elif routed.keys() == self._versions.servables and all(map(self._is_ready, routed.values())):
            self._used, self._taken_over = routed, dict.fromkeys(routed, orders.revision)
            self._first.set_result({name: self._held[key].version for name, key in routed.items()})

    def _is_ready(self, key: Key) -> bool:
        return key in self._held and self._held[key].degree is Degree.READY

    def _take_over(self, orders: Orders) -> None:
        routed = {name: key for name, key in orders.routes.items() if name in self._used}
        for name, key in routed.items():
            if self._used[name] != key and self._is_ready(key):
                self._leaving.append((self._used[name], self._versions.use(name, self._held[key].version)))
                self._used[name] = key
                logger.info("%s has the traffic", key)
        self._leaving = [(key, before) for key, before in self._leaving if before.calls]
        behind = {key.servable for key, _ in self._leaving}
        done = [name for name, key in routed.items() if self._used[name] == key and name not in behind]
        self._taken_over |= dict.fromkeys(done, orders.revision)

    def _free_unwanted(self, wanted: Mapping[Key, int]) -> None:
        kept = {*wanted, *self._used.values(), *(key for key, _ in self._leaving), *self._busy}
        for key in [key for key in self._held if key not in kept]:
            self._busy[key] = asyncio.create_task(self._free(key))
        for key in [key for key in self._failed if key not in wanted]:
            del self._failed[key]

    async def _free(self, key: Key) -> None:
        held = self._held[key]
        held.degree = Degree.CLOSING
        try:
            await self._close(held.version, key)
        finally:
            del self._held[key], self._busy[key]
            self._changed.set()

    async def _close(self, version: V, key: Key) -> None:
        try:
            await self._versions.free(version)
        except Exception:  # a framework's, or the user's own: it is gone for us
            logger.exception("%s could not be freed in good order", key)

    def _tell(self) -> None:
        """Have control know what changed here; what does not arrive, the next question tells."""
        now = replace(
            self._report,
            revisions=dict(self._taken_over),
            held={key: held.degree for key, held in self._held.items()},
            failed=dict(self._failed),
            joining=not self._serving,
        )
        if now != self._report:
            self._report = replace(now, number=now.number + 1)
            if self._telling is None or self._telling.done():
                self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        told = -1
        while told != self._report.number:
            told = self._report.number
            try:
                await self._control.tell.remote(self._report)
            except AWAY as error:  # it is told when it is asked
                logger.debug("control is away: %s", error)
                return


def _standing(key: Key, state: str, reason: str = "") -> Standing:
    return Standing(key.servable, str(key.number), state, reason)
