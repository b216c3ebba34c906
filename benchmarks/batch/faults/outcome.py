"""What is measured of each fault, as it is reported."""

from dataclasses import dataclass

from benchmarks.batch.faults.judge import Judged


@dataclass(frozen=True)
class Undisturbed:
    """A run in which nothing was killed."""

    nodes: int
    """Of the cluster; 1: a Ray of the job's own."""
    seconds: float
    parts: int


@dataclass(frozen=True)
class Disturbed:
    """A run in which something was."""

    title: str
    killed: int
    """Processes."""
    resumed: bool
    """Whether it was started again."""
    judged: Judged
    next_s: float
    """From the kill to the next finished part."""
    longer_s: float
    """What the run took beyond the undisturbed one, with a second start."""


@dataclass(frozen=True)
class Outcome:
    """Everything on the page."""

    machine: dict[str, str]
    command: str
    undisturbed: list[Undisturbed]
    disturbed: list[Disturbed]
