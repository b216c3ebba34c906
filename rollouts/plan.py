"""The next steps from what is to what is wanted, for one servable: no state, no clock."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum

from rollouts.life import IN_MEMORY, WARM, Key, Life, Phase
from rollouts.policy import Wish, previous, wanted


class Verb(StrEnum):
    """Work that is done outside the state. Each may be asked for again after a crash, whether or not it was done."""

    FETCH = "fetch"
    VERIFY = "verify"
    LOAD = "load"
    WARM_UP = "warm up"
    CHECK = "check"
    """Does it fit the graph, and does every process that could be asked for it have it?"""
    UNLOAD = "unload"
    """Let its last requests end, and free whatever there is of it."""


STEPS: dict[Phase, tuple[Verb, Phase]] = {
    Phase.DISCOVERED: (Verb.FETCH, Phase.FETCHED),
    Phase.FETCHED: (Verb.VERIFY, Phase.VERIFIED),
    Phase.VERIFIED: (Verb.LOAD, Phase.LOADED),
    Phase.LOADED: (Verb.WARM_UP, Phase.WARMED_UP),
    Phase.WARMED_UP: (Verb.CHECK, Phase.READY),
}
"""Phase → the work that brings a version up further, and the phase after it."""

_NOT_BEGUN = (Phase.DISCOVERED, Phase.UNLOADED, Phase.FAILED)
"""Phases of a version of which nothing should be there."""


@dataclass(frozen=True)
class Seen:
    """What is the case outside the state."""

    up: Set[Key] = frozenset()
    """Versions of which there is anything in memory."""
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    """Servable → the revision of the routes whose version of it every gateway has taken over."""
    busy: Set[Key] = frozenset()
    """Versions for which work is under way."""

    def is_taken_over(self, life: Life) -> bool:
        """Whether every gateway knows that the version has the traffic, or has it no more."""
        return self.acknowledged.get(life.key.servable, 0) >= life.revision


@dataclass(frozen=True)
class Move:
    """Record that a version is in another phase; nothing else is to be done for that."""

    life: Life
    to: Phase
    reason: str = ""


@dataclass(frozen=True)
class Work:
    """Do something for a version."""

    life: Life
    verb: Verb


@dataclass(frozen=True)
class Reroute:
    """Publish a new revision of the routes."""

    servable: str
    to: Key | None
    """None: no version has the traffic, as nobody wants the servable."""


@dataclass(frozen=True)
class Plan:
    """Steps that can be taken now, in any order."""

    moves: tuple[Move, ...] = ()
    reroute: Reroute | None = None
    work: tuple[Work, ...] = ()
    """Of several, the most urgent first."""
    abandon: tuple[Key, ...] = ()
    """Versions for which work is under way that nobody wants any more."""
    look_again_at: float = math.inf
    """When there will be more to do if nothing else happens, in seconds since 1970."""


def plan(lives: Sequence[Life], wish: Wish | None, seen: Seen, now: float) -> Plan:
    """The next steps for one servable.

    What has the traffic keeps it, and is brought back if its processes ended, until something better is warm. A version
    is freed only after every gateway has taken over routes without it; what gateways do with other servables holds
    nothing up.

    Args:
        lives: all its versions, as the state has them.
        wish: None where the configuration has no such servable any more.
        now: seconds since 1970.
    """
    ranked = _ranked(lives, wish)
    spare = _spare(lives, ranked, wish) if wish else []
    idle = [life for life in lives if life.key not in seen.busy]
    reroute = _reroute(lives, ranked, seen.up)
    if reroute:
        idle = [life for life in idle if not life.current and life.key != reroute.to]
    free = _may_free(lives, wish, seen)
    moves = [_move(life, ranked, spare, seen, now, free) for life in idle]
    moving = {move.life.key for move in moves if move}
    work = [_work(life, ranked, now) for life in _urgent_first(idle, ranked) if life.key not in moving]
    abandoned = [life.key for life in lives if life.key in seen.busy and life not in ranked and life.phase in STEPS]
    waiting = [life.retry_at for life in idle if life.retry_at > now and _waits(life, ranked)]
    return Plan(
        tuple(filter(None, moves)),
        reroute,
        tuple(filter(None, work)),
        tuple(abandoned),
        min(waiting, default=math.inf),
    )


def _ranked(lives: Sequence[Life], wish: Wish | None) -> list[Life]:
    """What is to be up, the best first and last what has the traffic without being wanted."""
    if wish is None:
        return []
    best = wanted(lives, wish)
    return best + [life for life in lives if life.current and life not in best]


def _spare(lives: Sequence[Life], ranked: Sequence[Life], wish: Wish) -> list[Life]:
    """What is kept for a rollback."""
    kept = [life for life in previous(lives) if life not in ranked and life.key.number not in wish.out]
    return kept[: wish.policy.keep]


def _reroute(lives: Sequence[Life], ranked: Sequence[Life], up: Set[Key]) -> Reroute | None:
    for life in ranked:
        if life.phase in WARM and life.key in up:
            return None if life.phase is Phase.ROUTED else Reroute(life.key.servable, life.key)
    unwanted = [life for life in lives if life.current and life not in ranked]
    return Reroute(unwanted[0].key.servable, None) if unwanted else None


def _may_free(lives: Sequence[Life], wish: Wish | None, seen: Seen) -> bool:
    """Whether every gateway is known to use what the state says, so that none still uses another version.

    Not so while nothing has the traffic: after a loss of the state, gateways may use versions that it does not name.
    """
    served = any(life.phase is Phase.ROUTED for life in lives) if wish else not any(life.current for life in lives)
    return served and all(map(seen.is_taken_over, lives))


def _move(life: Life, ranked: Sequence[Life], spare: Sequence[Life], seen: Seen, now: float, free: bool) -> Move | None:
    up = life.key in seen.up
    if life.phase in IN_MEMORY and not up:
        return Move(life, Phase.DISCOVERED, "its processes ended")
    if life in ranked and life.phase in (Phase.FAILED, Phase.UNLOADED):
        return Move(life, Phase.DISCOVERED) if now >= life.retry_at else None
    if life in ranked or life in spare:
        kept = life.phase is Phase.DRAINING and seen.is_taken_over(life)
        return Move(life, Phase.READY, "kept") if kept else None
    begun = life.phase not in _NOT_BEGUN
    if life.phase is not Phase.UNLOADING and (free if up else begun):
        return Move(life, Phase.UNLOADING, "not wanted any more" if begun else "found in memory, and not wanted")
    return None


def _urgent_first(idle: Sequence[Life], ranked: Sequence[Life]) -> list[Life]:
    return [life for life in ranked if life in idle] + [life for life in idle if life not in ranked]


def _work(life: Life, ranked: Sequence[Life], now: float) -> Work | None:
    if life.phase is Phase.UNLOADING:
        return Work(life, Verb.UNLOAD) if now >= life.retry_at else None
    return Work(life, STEPS[life.phase][0]) if life in ranked and life.phase in STEPS else None


def _waits(life: Life, ranked: Sequence[Life]) -> bool:
    return life.phase is Phase.UNLOADING or (life.phase is Phase.FAILED and life in ranked)
