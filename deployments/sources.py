"""What the sources of an application's servables have, what is wrong there, and which versions are in by that."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from configs.errors import MillraceError, ModelError, NotAnswered
from configs.log import LOGGER
from configs.versions import Versions
from deployments.catalogue import Offer, Served
from rollouts.life import Key

logger = logging.getLogger(LOGGER)

AT_ONCE = 16
"""Sources that are looked at side by side."""
FIRST_ANSWER_S = 60.0
"""How long the first answer of a source may take: a registry that starts, or libraries that are imported first."""


class Sources:
    """Used from one event loop.

    Args:
        served: the servables, by name.
        clock: seconds, monotonic.
    """

    def __init__(self, served: Mapping[str, Served], clock: Callable[[], float] = time.monotonic) -> None:
        self.policies: dict[str, Versions] = {name: each.policy for name, each in served.items()}
        """Servable → the versions that are in; an alias as the number that it names, once that is known."""
        self.published: dict[str, Collection[Key]] = {}
        """Servable → the whole versions in its source; absent while that cannot be read."""
        self.said: dict[str, str] = {}
        """Servable → what is wrong with its source, or with versions there."""
        self._served, self._clock = served, clock
        self._threads = ThreadPoolExecutor(AT_ONCE, "millrace-sources")
        self._answered: set[str] = set()
        self._told: set[str] = set()
        self._began: float | None = None

    async def look(self, routes: Mapping[str, Key]) -> None:
        """Look at all of them, side by side.

        Args:
            routes: servable → the version with the traffic.
        """
        if self._began is None:
            self._began = self._clock()
        loop, now = asyncio.get_running_loop(), time.time()
        # In threads of their own: one that is slow keeps nothing else waiting for a thread.
        found = [loop.run_in_executor(self._threads, _offer, each, now) for each in self._served.values()]
        for name, offer in zip(self._served, await asyncio.gather(*found), strict=True):
            said = self._take(name, offer)
            aliases = None if isinstance(offer, MillraceError) else offer.aliases
            self.policies[name] = self._served[name].policy_now(aliases, self._named(name, routes))
            self._tell(name, said)

    def may_yet_answer(self, servable: str) -> bool:
        """Whether its source has said nothing at all so far, and was not asked long ago."""
        asked_s = 0.0 if self._began is None else self._clock() - self._began
        return servable not in self._answered and asked_s < FIRST_ANSWER_S

    def _take(self, name: str, offer: Offer | MillraceError) -> Collection[str]:
        if not isinstance(offer, NotAnswered):
            self._answered.add(name)
        if isinstance(offer, MillraceError):
            self.published.pop(name, None)
            return [offer.message]
        self.published[name] = offer.keys
        return offer.said

    def _named(self, name: str, routes: Mapping[str, Key]) -> int | None:
        """The version that the alias of a servable's policy named last; before it was seen, what has the traffic."""
        if only := self.policies[name].only:
            return only[0]
        return routes[name].number if name in routes else None

    def _tell(self, name: str, said: Collection[str]) -> None:
        self.said[name] = "; ".join(said)
        for text in said:
            if text not in self._told:
                logger.warning("%s: %s", name, text)
        self._told.update(said)


def _offer(served: Served, now: float) -> Offer | MillraceError:
    try:
        return served.published(now)
    except MillraceError as error:  # also of a library that is not installed
        return error
    except OSError as error:
        return ModelError(f"{served.name}: {error.filename or served.node.name} cannot be read: {error.strerror}")
