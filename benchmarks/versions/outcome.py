"""The outcome of a run behind one proxy, as it is kept and reported."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.versions.judge import Split, Tail, Unwanted

CALM = "calm"
ALONE = "swaps of "
"""Beginning of the name of a part in which one model is swapped, and nothing else goes on."""
FLIPS = "an alias flips each second"
SWAPS = "all swapped, control killed"
EVERY = "all"
"""In place of a stream's name: every stream."""


@dataclass(frozen=True)
class Part:
    """A time of the run in which the same went on."""

    name: str
    began: float
    ended: float
    swaps: dict[str, int]
    """Model → new versions that took over; of the one behind an alias, how often the traffic followed it."""
    broken: int
    """Versions that were published and could not be loaded."""
    kills: int
    load: float
    """Load average of the machine at its end."""


@dataclass(frozen=True)
class Judged:
    """What became of the requests of a part."""

    part: Part
    sent: int
    lost: int
    tails: dict[str, Tail]
    """By model, and `EVERY`."""
    behind_ms: float
    """p99 of how much later than planned a request was sent: the generator waits for a core like everything else."""


@dataclass(frozen=True)
class Second:
    """The requests that were planned in one second of the run. Latencies in ms."""

    at: int
    p50: float
    p99: float
    most: float


@dataclass(frozen=True)
class Outcome:
    """Everything that is reported."""

    proxy: str
    machine: dict[str, str]
    capacity: float
    """Answers per second to clients that never pause."""
    rate: float
    """Requests per second in the parts."""
    busy: float
    """Of the generator: its share of a core."""
    parts: list[Judged]
    by_protocol: dict[str, tuple[int, int]]
    """Protocol → requests, and those that were lost."""
    lost: dict[str, int]
    """Stream and reason → how many."""
    unwanted: list[Unwanted]
    unknown: int
    """Answers of no version that could give one."""
    alone: list[Split]
    """Of each model, in the part in which it alone was swapped."""
    killed: list[Split]
    """The same while all were swapped, and control was killed."""
    began: float
    """Of the figure. In seconds since 1970, as all times."""
    seconds: list[Second]
    swapped: list[tuple[float, str]]
    """When a new version first answered, and its model."""
    kills: list[float]
    away_s: list[float] = field(default_factory=list)
    """How long control was away after a kill."""
    stuck: list[str] = field(default_factory=list)
    """What did not happen in time while control was killed."""


def keep(outcome: Outcome, file: Path) -> None:
    """Write it down."""
    file.write_text(json.dumps(asdict(outcome)))


def kept(file: Path) -> Outcome:
    """What `keep` wrote."""
    return TypeAdapter(Outcome).validate_json(file.read_bytes())
