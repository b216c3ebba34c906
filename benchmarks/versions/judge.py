"""What the records of requests and the history of versions say together. No clock, no server."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.versions.records import NONE, Records
from rollouts.life import Phase
from rollouts.store import Transition

STEPS = (
    Phase.DISCOVERED,
    Phase.FETCHED,
    Phase.VERIFIED,
    Phase.LOADED,
    Phase.WARMED_UP,
    Phase.READY,
    Phase.ROUTED,
)
FIRST = "first answer"
SPLIT = (*(phase.value for phase in STEPS), FIRST)
"""What the time from publishing a version to its first answer is split into: until it was …"""


@dataclass(frozen=True)
class Tail:
    """Percentiles of latency in ms, from the planned moments of the requests that were answered."""

    count: int
    p50: float
    p99: float
    p999: float


@dataclass(frozen=True)
class Unwanted:
    """An answer of a version to a request that was sent after every gateway had taken over routes without it."""

    model: str
    version: int
    after_s: float
    """How long after."""


def tail(requests: np.ndarray) -> Tail:
    """Of records; NaN where none was answered."""
    answered = requests[requests["version"] != NONE]
    if not len(answered):
        return Tail(0, math.nan, math.nan, math.nan)
    p50, p99, p999 = np.quantile((answered["ended"] - answered["planned"]) * 1e3, (0.5, 0.99, 0.999))
    return Tail(len(answered), float(p50), float(p99), float(p999))


def between(requests: np.ndarray, began: float, ended: float) -> np.ndarray:
    """Those that were planned in this time."""
    kept: np.ndarray = requests[(requests["planned"] >= began) & (requests["planned"] < ended)]
    return kept


def of_stream(records: Records, requests: np.ndarray, model: str | None, protocol: str | None) -> np.ndarray:
    """Those of a model, of a protocol, or both; None: of all."""
    wanted = [
        number
        for number, (its_model, its_protocol) in enumerate(records.streams)
        if model in (None, its_model) and protocol in (None, its_protocol)
    ]
    kept: np.ndarray = requests[np.isin(requests["stream"], wanted)]
    return kept


def gone(history: Iterable[Transition]) -> dict[int, list[tuple[float, float]]]:
    """Version → the times in which no answer of it was wanted: from the last acknowledgement of routes without it
    until it was routed again.

    Args:
        history: of one servable, the first transition first.
    """
    found: dict[int, list[tuple[float, float]]] = {}
    for change in history:
        times = found.setdefault(change.key.number, [])
        if change.before is Phase.DRAINING and change.after in (Phase.UNLOADING, Phase.READY):
            times.append((change.at, math.inf))
        elif change.after is Phase.ROUTED and times and times[-1][1] == math.inf:
            times[-1] = (times[-1][0], change.at)
    return {number: times for number, times in found.items() if times}


def unwanted(records: Records, model: str, history: Iterable[Transition]) -> list[Unwanted]:
    """The answers of a model that nobody wanted."""
    requests = of_stream(records, records.requests, model, None)
    found = []
    for number, times in gone(history).items():
        sent = np.sort(requests["sent"][requests["version"] == number])
        for began, ended in times:
            found += [Unwanted(model, number, float(at - began)) for at in sent[(sent > began) & (sent < ended)]]
    return found


def unknown(records: Records, model: str, working: Iterable[int]) -> int:
    """Answers of a model that are of no version that could give one."""
    versions = of_stream(records, records.requests, model, None)["version"]
    return int((~np.isin(versions, [NONE, *working])).sum())


def first_answers(records: Records, model: str) -> dict[int, float]:
    """Version → when it first answered."""
    requests = of_stream(records, records.requests, model, None)
    return {
        int(number): float(requests["ended"][requests["version"] == number].min())
        for number in np.unique(requests["version"])
        if number != NONE
    }


def steps_of(published: float, changes: Sequence[Transition], first: float) -> list[float]:
    """How long each step of `SPLIT` took. A step that was taken again, as after a crash, ends with the last time.

    Args:
        changes: of one version until it was routed first, in their order.

    Raises:
        ValueError: it did not go through every phase.
    """
    at: dict[Phase, float] = {}
    for change in changes:
        if change.after is not Phase.DISCOVERED or Phase.DISCOVERED not in at:
            at[change.after] = change.at
        if change.after is Phase.ROUTED:
            break
    if missing := [phase.value for phase in STEPS if phase not in at]:
        raise ValueError(f"a version that answered never was {', '.join(missing)}")
    moments = [published, *(at[phase] for phase in STEPS), first]
    return [later - earlier for earlier, later in pairwise(moments)]


@dataclass(frozen=True)
class Split:
    """Seconds from publishing versions to their first answers: median and 95th percentile of each step, and in all."""

    model: str
    count: int
    median: list[float]
    p95: list[float]


def split(
    model: str, published: Mapping[int, float], history: Iterable[Transition], first: Mapping[int, float]
) -> Split:
    """Of the versions that were published and answered. Raises ValueError as `steps_of`."""
    changes: dict[int, list[Transition]] = {}
    for change in history:
        changes.setdefault(change.key.number, []).append(change)
    rows = [steps_of(at, changes[number], first[number]) for number, at in published.items() if number in first]
    if not rows:
        return Split(model, 0, [], [])
    seconds = np.array([[*row, sum(row)] for row in rows])
    median, p95 = np.quantile(seconds, (0.5, 0.95), axis=0)
    return Split(model, len(rows), median.tolist(), p95.tolist())
