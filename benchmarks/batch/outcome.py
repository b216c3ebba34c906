"""What is measured, as it is kept and reported."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

MILLRACE, RAY, PANDAS, HTTP, APART = "millrace", "ray", "pandas", "http", "apart"


@dataclass(frozen=True)
class Run:
    """One job, or what stands for one."""

    round: int
    workload: str
    way: str
    rows: int
    whole_s: float
    """From the command's start to its end."""
    first_s: float
    """Until the first file of the output."""
    last_s: float
    """Until the last one."""
    steady: float
    """Rows per second between the first tenth of the rows and the last."""
    cpu_s: float
    """Of all processes, from start to end; of a server, while it was asked."""
    peak_bytes: int
    """Sum of the most that each process took for itself."""
    differs: float
    """Largest difference of a number in the answers from Millrace's."""


@dataclass(frozen=True)
class Taken:
    """The most that processes of one kind took, in bytes."""

    name: str
    count: int
    own: int
    resident: int


@dataclass(frozen=True)
class Bounded:
    """A job over more data than fits into Ray's object store."""

    rows: int
    data_bytes: int
    store_bytes: int
    """Given to Ray."""
    store_peak: int
    spills: int
    """How often Ray moved objects to the disk."""
    taken: list[Taken]
    seconds: float
    rows_out: int


@dataclass(frozen=True)
class Outcome:
    """Everything on the page."""

    machine: dict[str, str]
    command: str
    runs: list[Run]
    bounded: Bounded | None


def keep(outcome: Outcome, file: Path) -> None:
    """Write it down."""
    file.write_text(json.dumps(asdict(outcome)))


def kept(file: Path) -> Outcome:
    """What `keep` wrote."""
    return TypeAdapter(Outcome).validate_json(file.read_bytes())
