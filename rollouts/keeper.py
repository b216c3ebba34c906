"""The one owner of versions' lives: compares what is with what is wanted, has work done, records what came of it."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Set
from contextlib import nullcontext
from typing import Protocol

from configs.errors import MillraceError, Unavailable
from configs.log import LOGGER
from configs.versions import Versions
from rollouts.life import Key, Life, Phase
from rollouts.plan import STEPS, Plan, Seen, Verb, Work, plan
from rollouts.store import StateStore

AT_ONCE = 4
"""Versions fetched, and others loaded, at the same time; more wait, the most urgent first."""
REASON_LENGTH = 2000
"""Characters of a failure's reason that are kept."""

logger = logging.getLogger(LOGGER)


class Hands(Protocol):
    """What is done outside the state, by whoever serves."""

    async def up(self) -> Set[Key]:
        """The versions, of all servables, of which there is anything in memory, be it half gone."""
        ...

    def acknowledged(self, servable: str) -> int:
        """The revision of the routes whose version of a servable every gateway uses, and no older one of it."""
        ...

    async def do(self, verb: Verb, key: Key) -> None:
        """Do it, or make sure that it is done; after a crash it is asked for again.

        A `load` that fails leaves nothing in memory. Raises MillraceError with the reason, or anything.
        """
        ...


class Keeper:
    """Work goes on in tasks of its own; `reconcile` only starts it, one for each version at a time.

    Args:
        clock: seconds since 1970.
        random: gives a number from 0 to 1.
    """

    def __init__(
        self,
        store: StateStore,
        hands: Hands,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.changed = asyncio.Event()
        """Set when work has ended, so that there may be more to do."""
        self._store, self._hands, self._clock, self._random = store, hands, clock, random
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._writing = asyncio.Lock()
        # What may wait for others (a cluster that grows, long requests that end) takes nobody's place.
        fetching, loading = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._slots = {Verb.FETCH: fetching, Verb.VERIFY: fetching, Verb.LOAD: loading}

    @property
    def busy(self) -> Set[Key]:
        """Versions for which work is under way."""
        return frozenset(self._tasks)

    async def reconcile(self, policies: Mapping[str, Versions], published: Mapping[str, Collection[Key]]) -> float:
        """Take every step that can be taken now, and start the work that is due.

        Called again whenever anything changed: policies, sources, processes, acknowledgements, or `changed` is set.

        Args:
            policies: of each servable of the configuration; the others' versions are taken down.
            published: servable → the whole versions in its source; absent while a source cannot be read.

        Returns:
            When to call again if nothing changes, in seconds since 1970.

        Raises:
            Unavailable: the database is away; nothing is lost by calling again later.
        """
        async with self._writing:
            self.changed.clear()
            up = await self._hands.up()
            await asyncio.to_thread(self._store.observe, published, up, self._clock())
            servables = {*policies, *(key.servable for key in up)}
            seen = Seen(up, {each: self._hands.acknowledged(each) for each in servables}, self.busy)
            plans = await asyncio.to_thread(self._step, policies, seen)
            for key in (key for each in plans for key in each.abandon):
                self._tasks[key].cancel()
            for work in (work for each in plans for work in each.work):
                self._tasks[work.life.key] = asyncio.create_task(self._run(work))
        return min((each.look_again_at for each in plans), default=float("inf"))

    async def close(self) -> None:
        """Stop; whatever was under way is taken up by the next keeper of the same state."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _step(self, policies: Mapping[str, Versions], seen: Seen) -> list[Plan]:
        """Record moves and routes until there are none to record. Gives the plans that are left: work and waiting."""
        wishes = self._store.wishes(policies)
        while True:
            now = self._clock()
            plans = [plan(lives, wishes.get(name), seen, now) for name, lives in self._store.lives().items()]
            if not any(each.moves or each.reroute for each in plans):
                return plans
            for each in plans:
                self._record(each)

    def _record(self, each: Plan) -> None:
        for move in each.moves:
            self._save(move.life, move.life.moved(move.to, move.reason))
        if each.reroute is not None:
            revision = self._store.reroute(each.reroute, self._clock())
            logger.info("%s: revision %d routes to %s", each.reroute.servable, revision, each.reroute.to or "nothing")

    def _save(self, before: Life, after: Life) -> None:
        self._store.save(before, after, self._clock())
        level = logging.WARNING if after.reason and after.failures else logging.INFO
        logger.log(level, "%s: %s → %s %s", after.key, before.phase, after.phase, after.reason)

    async def _run(self, work: Work) -> None:
        key = work.life.key
        try:
            async with self._slots.get(work.verb, nullcontext()):
                await self._attempt(key, work)
        except Unavailable as error:
            logger.warning("%s: what came of `%s` is not recorded, so it is done again: %s", key, work.verb, error)
        finally:
            del self._tasks[key]
            self.changed.set()

    async def _attempt(self, key: Key, work: Work) -> None:
        why = await self._try(work.verb, key)
        if why and work.verb in (Verb.WARM_UP, Verb.CHECK) and not self._may_be_used(work.life):
            await self._try(Verb.UNLOAD, key)
        async with self._writing:
            # Read again: meanwhile another version may have taken the traffic from this one.
            before = await asyncio.to_thread(self._store.life, key)
            if why:
                after = before.failed(f"{work.verb}: {why}", self._clock(), self._random)
            else:
                after = before.moved(Phase.UNLOADED if work.verb is Verb.UNLOAD else STEPS[before.phase][1])
            await asyncio.to_thread(self._save, before, after)

    def _may_be_used(self, life: Life) -> bool:
        """Also where it lost the traffic and its processes, and came back before every gateway knew of either."""
        return life.current or self._hands.acknowledged(life.key.servable) < life.revision

    async def _try(self, verb: Verb, key: Key) -> str:
        """Why it failed, as text that any database takes; empty if it did not."""
        try:
            await self._hands.do(verb, key)
        except MillraceError as error:
            return _plain(error.message)
        except Exception as error:  # whatever a framework, a disk or Ray raises is this version's reason
            logger.exception("%s: %s failed", key, verb)
            return _plain(f"{type(error).__name__}: {error}")
        return ""


def _plain(text: str) -> str:
    """Names of files may hold bytes that are no text, and a framework's message a whole stack trace."""
    return text.encode(errors="replace").decode().replace("\0", "?")[:REASON_LENGTH]
