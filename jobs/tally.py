"""What a job has done so far, part by part, and the report at its end."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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


@dataclass
class Tally:
    """Sums over parts."""

    parts: int = 0
    rows: int = 0
    bad: int = 0
    resumed: int = 0
    """Of the rows, those that an earlier run had done."""
    seconds: Counter[str] = field(default_factory=Counter)

    def add(self, part: Finished, resumed: bool = False) -> None:
        """Count a part."""
        self.parts += 1
        self.rows += part.rows
        self.bad += part.bad
        if resumed:
            self.resumed += part.rows
        else:
            self.seconds.update(part.seconds)


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

    @property
    def rows_per_second(self) -> float:
        """Of the last run."""
        return (self.rows - self.resumed) / self.seconds if self.seconds else 0.0

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "rows_per_second": round(self.rows_per_second, 1)}

    def lines(self) -> list[str]:
        """As text."""
        done = f"{self.rows:,} rows in {self.parts} parts, {self.bad:,} without an answer"
        lines = [f"{self.graph} → {self.output}: {done}"]
        if self.resumed:
            lines.append(f"of them {self.resumed:,} rows by an earlier run")
        lines.append(f"{self.seconds:.1f} s, {self.rows_per_second:,.0f} rows/s")
        work = sum(self.stages.values()) or 1.0
        for stage, seconds in self.stages.items():
            lines.append(f"  {stage}: {seconds:.1f} s of work, {seconds / work:.0%}")
        lines += [f"  {node}: {version}" for node, version in sorted(self.versions.items())]
        return lines
