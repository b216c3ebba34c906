"""The life of a version: its phases, and the moves between them that there are."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from rollouts.backoff import delay_s


class Key(NamedTuple):
    """What tells one version from all others."""

    servable: str
    """`graph.node`: two nodes that serve the same model each have their own versions."""
    number: int
    digest: str
    """Of its content: a number that is published again with other content is another version."""

    def __str__(self) -> str:
        return f"{self.servable} version {self.number}"


class Phase(StrEnum):
    """How far a version has come."""

    DISCOVERED = "discovered"
    FETCHED = "fetched"
    """Its files are on this machine."""
    VERIFIED = "verified"
    """They are what was published."""
    LOADED = "loaded"
    """Its processes have it in memory, if perhaps not all of them yet."""
    WARMED_UP = "warmed up"
    READY = "ready"
    """It fits the graph, and every process that could be asked for it can answer."""
    ROUTED = "routed"
    DRAINING = "draining"
    """Another has the traffic; some gateways may not know yet."""
    UNLOADING = "unloading"
    """Being freed. Recorded before that begins, so that what is half gone is never routed after a crash."""
    UNLOADED = "unloaded"
    FAILED = "failed"
    """A step failed; it is tried again at `retry_at`, from the start."""


MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.DISCOVERED: frozenset({Phase.FETCHED, Phase.UNLOADING, Phase.FAILED}),
    Phase.FETCHED: frozenset({Phase.VERIFIED, Phase.UNLOADING, Phase.FAILED}),
    Phase.VERIFIED: frozenset({Phase.LOADED, Phase.UNLOADING, Phase.FAILED}),
    # Back to the start: its processes ended.
    Phase.LOADED: frozenset({Phase.WARMED_UP, Phase.UNLOADING, Phase.FAILED, Phase.DISCOVERED}),
    Phase.WARMED_UP: frozenset({Phase.READY, Phase.UNLOADING, Phase.FAILED, Phase.DISCOVERED}),
    Phase.READY: frozenset({Phase.ROUTED, Phase.UNLOADING, Phase.DISCOVERED}),
    Phase.ROUTED: frozenset({Phase.DRAINING, Phase.DISCOVERED}),
    Phase.DRAINING: frozenset({Phase.READY, Phase.ROUTED, Phase.UNLOADING, Phase.DISCOVERED}),
    Phase.UNLOADING: frozenset({Phase.UNLOADED}),
    Phase.UNLOADED: frozenset({Phase.DISCOVERED, Phase.UNLOADING}),
    Phase.FAILED: frozenset({Phase.DISCOVERED, Phase.UNLOADING}),
}
"""Every move that there is."""

IN_MEMORY = frozenset({Phase.LOADED, Phase.WARMED_UP, Phase.READY, Phase.ROUTED, Phase.DRAINING})
"""Phases of a version whose processes must be there."""
WARM = frozenset({Phase.READY, Phase.ROUTED, Phase.DRAINING})
"""Phases of a version that may have the traffic at once."""


@dataclass(frozen=True)
class Life:
    """One version as the state has it. Times are seconds since 1970."""

    key: Key
    phase: Phase = Phase.DISCOVERED
    reason: str = ""
    """Why it is in this phase, where that is not plain."""
    failures: int = 0
    """Steps that failed since it was ready or unloaded last."""
    retry_at: float = 0.0
    """Before that, a step that failed is not tried again."""
    revision: int = 0
    """The last revision of the routes that gave it the traffic or took it away; 0 if there is none."""
    published: bool = True
    """Whether its source has it."""
    current: bool = False
    """Whether the routes name it. Its processes may have ended nevertheless, and be on their way back."""

    def moved(self, to: Phase, reason: str = "") -> "Life":
        """This version in another phase. Raises ValueError for a move that there is not."""
        if to not in MOVES[self.phase]:
            raise ValueError(f"{self.key} is {self.phase}: it cannot become {to}")
        if to in (Phase.READY, Phase.UNLOADED):
            return replace(self, phase=to, reason=reason, failures=0, retry_at=0.0)
        return replace(self, phase=to, reason=reason)

    def failed(self, reason: str, now: float, random: Callable[[], float]) -> "Life":
        """This version after a step that failed. One that could not be freed stays `unloading`.

        Args:
            random: gives a number from 0 to 1.
        """
        tried = replace(self, failures=self.failures + 1, retry_at=now + delay_s(self.failures, random()))
        if self.phase in (Phase.UNLOADING, Phase.FAILED):
            return replace(tried, reason=reason)
        return tried.moved(Phase.FAILED, reason)
