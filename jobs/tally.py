"""What a job has done so far, part by part, and the report at its end."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from jobs.profile import Profile


@dataclass(frozen=True)
class Finished:
    """A part whose files are whole; kept beside the output, so that nobody does it again."""

    name: str
    rows: int
    """As many as were read."""
    bad: int
    last: bool
    """Whether nothing of its unit comes after it."""
    seconds: Mapping[str, float]
    """Stage → seconds that it worked for this part."""
    peak_mb: Mapping[str, float]
    """Stage → most memory that its process had had when it was done with this part."""
    profiles: Mapping[str, Mapping[str, Any]]
    """`inputs` and `outputs` → the state of what they hold, `jobs.profile.Profile`."""


@dataclass
class Tally:
    """Sums over parts."""

    parts: int = 0
    rows: int = 0
    bad: int = 0
    resumed: int = 0
    """Of the rows, those that an earlier run had done."""
    seconds: Counter[str] = field(default_factory=Counter)
    peak_mb: Counter[str] = field(default_factory=Counter)
    """Stage → most memory that one of its processes has had."""
    profiles: dict[str, Profile] = field(default_factory=dict)
    """`inputs`, `outputs` → what they hold."""

    def add(self, part: Finished, resumed: bool = False) -> None:
        """Count a part."""
        self.parts += 1
        self.rows += part.rows
        self.bad += part.bad
        for side, state in part.profiles.items():
            self.profiles.setdefault(side, Profile()).merge(Profile.parsed(state))
        if resumed:
            self.resumed += part.rows
        else:
            self.seconds.update(part.seconds)
            self.peak_mb |= Counter(part.peak_mb)


@dataclass(frozen=True)
class Report:
    """What came of a job. Rows are those of all its runs, times those of the last one."""

    graph: str
    output: str
    rows: int
    bad: int
    resumed: int
    parts: int
    seconds: float
    """From the first part's reading to the last one's writing."""
    stages: Mapping[str, float]
    """Stage → seconds of work, of all its processes together."""
    versions: Mapping[str, str]
    """Node → model and number."""
    peak_mb: Mapping[str, float] = field(default_factory=dict)
    """Stage → most memory (1e6 bytes) of one of its processes."""

    @property
    def rows_per_second(self) -> float:
        """Of the last run."""
        return (self.rows - self.resumed) / self.seconds if self.seconds else 0.0

    @classmethod
    def parsed(cls, document: Mapping[str, Any]) -> "Report":
        """What `document` gave."""
        return cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "rows_per_second": round(self.rows_per_second, 1)}

    def lines(self) -> list[str]:
        """As text."""
        done = f"{self.rows:,} rows in {self.parts} part{'s' * (self.parts != 1)}, {self.bad:,} without an answer"
        lines = [f"{self.graph} → {self.output}: {done}"]
        if self.resumed:
            lines.append(f"of them {self.resumed:,} rows by an earlier run")
        lines.append(f"{self.seconds:.1f} s, {self.rows_per_second:,.0f} rows/s")
        work = sum(self.stages.values()) or 1.0
        for stage, seconds in self.stages.items():
            peak = f", {self.peak_mb[stage]:,.0f} MB at most" if stage in self.peak_mb else ""
            lines.append(f"  {stage}: {seconds:.1f} s of work, {seconds / work:.0%}{peak}")
        lines += [f"  {node}: {version}" for node, version in sorted(self.versions.items())]
        return lines
