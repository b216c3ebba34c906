"""What operators ask of control: which versions there are, what happened to them, and to load, roll back or unload."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from configs.errors import NotFound, Refused
from configs.log import LOGGER
from configs.versions import Versions
from rollouts.life import IN_MEMORY, Key, Life, Phase
from rollouts.policy import Wish, had_the_traffic, wanted
from rollouts.store import StateStore, Transition

logger = logging.getLogger(LOGGER)


class Action(StrEnum):
    """What may be asked for."""

    LIST = "list"
    HISTORY = "history"
    LOAD = "load"
    ROLLBACK = "rollback"
    UNLOAD = "unload"
    RESTORE = "restore"
    """As if no operator had ever asked for anything: what was taken out is in again, and nothing is pinned."""


@dataclass(frozen=True)
class Operation:
    """One request of an operator."""

    action: Action
    servable: str = ""
    """Empty, to list: all of them."""
    version: int | None = None
    """None: to load, the one that the policy says; to unload, the one that has the traffic.

    To roll back: the one that shall lose it.
    """
    limit: int = 100
    """Most entries of a history."""


@dataclass(frozen=True)
class VersionStatus:
    """One version of a servable. Times are seconds since 1970."""

    version: int
    digest: str
    phase: str
    reason: str
    """Why it is in this phase, where that is not plain."""
    failures: int
    """Steps that failed since it was ready or unloaded last."""
    retry_at: float
    """When a step that failed is tried again; 0 if none is to be."""
    changed_at: float
    """When it came into this phase."""
    published: bool
    """Whether its source has it."""
    has_traffic: bool
    acknowledged: bool
    """Whether every gateway has taken over the routes that gave it the traffic, or took it away."""
    pinned: bool
    """Whether an operator gave it the traffic, against the policy."""
    taken_out: bool
    """Whether an operator took it out, against the policy."""


@dataclass(frozen=True)
class ServableStatus:
    """A servable, and its versions that are published or in memory, the newest first."""

    servable: str
    policy: str
    keep: int
    """So many that had the traffic stay loaded."""
    version: int | None
    """Has the traffic."""
    wanted: int | None
    """Shall have it."""
    pinned: int | None
    versions: list[VersionStatus]


@dataclass(frozen=True)
class TransitionStatus:
    """A version came into a phase, at a time in seconds since 1970."""

    at: float
    version: int
    digest: str
    before: str | None
    """None: it was seen for the first time."""
    after: str
    reason: str


Answer = list[ServableStatus] | list[TransitionStatus]


class Operations:
    """Carries out what operators ask, over the state; the keeper does what follows from it.

    Args:
        policies: of each servable of the configuration.
    """

    def __init__(self, store: StateStore, policies: Mapping[str, Versions]) -> None:
        self._store, self._policies = store, policies
        # Now: later an alias may have been replaced by the number that it names.
        self._words = {name: _in_words(policy) for name, policy in policies.items()}

    def carry_out(self, asked: Operation, acknowledged: Mapping[str, int]) -> Answer:
        """The state of the servables asked for, after what was asked is recorded; or a history, the last first. Blocks.

        Args:
            acknowledged: servable → the revision of the routes whose version of it every gateway has taken over.

        Raises:
            NotFound: there is no such servable or version; the message names those there are.
            Refused: it would leave the servable without a version, or there is none to go back to.
            Unavailable: the state cannot be used; nothing was recorded.
        """
        if asked.servable or asked.action is not Action.LIST:
            self._check(asked.servable)
        match asked.action:
            case Action.HISTORY:
                return [_told(each) for each in self._store.history(asked.servable, asked.limit)]
            case Action.LOAD:
                self._load(asked.servable, asked.version)
            case Action.ROLLBACK:
                self._roll_back(asked.servable, asked.version)
            case Action.UNLOAD:
                self._unload(asked.servable, asked.version)
            case Action.RESTORE:
                self._store.forget_wishes(asked.servable)
                logger.info("%s: an operator wants what the policy says, and every version in again", asked.servable)
        return self._list([asked.servable] if asked.servable else sorted(self._policies), acknowledged)

    def _check(self, servable: str) -> None:
        if servable not in self._policies:
            known = ", ".join(sorted(self._policies)) or "none"
            raise NotFound(f"there is no servable {servable[:200]!r}; this server has {known}")

    def _load(self, servable: str, number: int | None) -> None:
        if number is None:
            self._store.pin(servable, None)
            logger.info("%s: an operator lets the policy say which version has the traffic", servable)
            return
        self._versions(servable, number)
        self._store.insist(servable, number)
        logger.info("%s: an operator gives the traffic to version %d", servable, number)

    def _roll_back(self, servable: str, leave: int | None) -> None:
        lives, out = self._lives(servable), self._store.out().get(servable, frozenset())
        left = [life for life in lives if life.key.number == leave]
        if not left:
            raise NotFound(f"{servable} never had a version {leave} that could be left")
        if not any(life.current for life in left):
            return  # so that whoever repeats the request, as after a lost answer, does not go forth again
        before = [life for life in had_the_traffic(lives) if life.key.number not in out and not life.failures]
        if not before:
            raise Refused(
                f"{servable}: no version that is still published and works had the traffic before this one; "
                "give it to another by `load`"
            )
        self._load(servable, before[0].key.number)

    def _unload(self, servable: str, number: int | None) -> None:
        if number is None:
            number = self._with_the_traffic(servable)
        chosen = self._versions(servable, number)
        if any(life.current for life in chosen) and not self._successor(servable, number):
            raise Refused(
                f"{servable} version {number} has the traffic, and there is no other version that could take over; "
                "publish one first"
            )
        self._store.take_out(servable, number)
        logger.info("%s: an operator took version %d out", servable, number)

    def _with_the_traffic(self, servable: str) -> int:
        for life in self._lives(servable):
            if life.current:
                return life.key.number
        raise Refused(f"{servable}: no version has the traffic; name the one to unload")

    def _successor(self, servable: str, number: int) -> bool:
        """Whether another version would take over, as far as is known."""
        wish = self._wish(servable)
        without = replace(wish, out=wish.out | {number}, pin=None if wish.pin == number else wish.pin)
        return any(not life.failures for life in wanted(self._lives(servable), without) if life.key.number != number)

    def _versions(self, servable: str, number: int | None) -> list[Life]:
        lives = [life for life in self._lives(servable) if _is_there(life)]
        found = [life for life in lives if life.key.number == number]
        if not found:
            known = ", ".join(str(life.key.number) for life in reversed(lives)) or "none"
            raise NotFound(
                f"{servable} has no version {number}; published or in memory: {known} "
                "(what was published a moment ago is seen within seconds)"
            )
        return found

    def _lives(self, servable: str) -> list[Life]:
        return self._store.lives().get(servable, [])

    def _wish(self, servable: str) -> Wish:
        return self._store.wishes(self._policies)[servable]

    def _list(self, servables: Sequence[str], acknowledged: Mapping[str, int]) -> list[ServableStatus]:
        lives, wishes = self._store.lives(), self._store.wishes(self._policies)
        changed_at = self._store.changed_at()
        return [
            _status(each, self._words[each], lives.get(each, []), wishes[each], changed_at, acknowledged[each])
            for each in servables
        ]


def _is_there(life: Life) -> bool:
    return life.published or life.current or life.phase in IN_MEMORY or life.phase is Phase.UNLOADING


def _status(
    servable: str, policy: str, lives: Sequence[Life], wish: Wish, changed_at: Mapping[Key, float], acknowledged: int
) -> ServableStatus:
    best = wanted(lives, wish)
    current = [life for life in lives if life.current]
    shall = [life for life in best if not life.failures or wish.pin is not None] or current or best
    versions = [
        VersionStatus(
            version=life.key.number,
            digest=life.key.digest,
            phase=life.phase.value,
            reason=life.reason,
            failures=life.failures,
            retry_at=life.retry_at,
            changed_at=changed_at[life.key],
            published=life.published,
            has_traffic=life.current,
            acknowledged=acknowledged >= life.revision,
            pinned=life.key.number == wish.pin,
            taken_out=life.key.number in wish.out,
        )
        for life in sorted(lives, key=lambda life: (life.key.number, life.published), reverse=True)
        if _is_there(life)
    ]
    return ServableStatus(
        servable,
        policy,
        wish.policy.keep,
        current[0].key.number if current else None,
        shall[0].key.number if shall else None,
        wish.pin,
        versions,
    )


def _in_words(policy: Versions) -> str:
    if policy.alias:
        return f"alias {policy.alias}"
    if policy.only:
        return f"only {', '.join(map(str, policy.only))}"
    return "all" if policy.newest is None else f"latest {policy.newest}"


def _told(each: Transition) -> TransitionStatus:
    before = each.before.value if each.before else None
    return TransitionStatus(each.at, each.key.number, each.key.digest, before, each.after.value, each.reason)
