"""A part of a job's rows: what is known of them on their way from the reader to their file."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.scoring import Piece

COLUMN = "part"
"""Of Ray Data's blocks: one part a row, pickled by us and for us."""


@dataclass
class Bad:
    """A row that has no answer."""

    row: int
    """Of its part."""
    stage: str
    """`read`, or the nodes that it failed in."""
    reason: str


@dataclass
class Part:
    """Rows that were read together and are written together, as one file."""

    name: str
    """The same whenever the same input is read: `00003-00012`, the thirteenth part of the fourth unit."""
    source: str
    """Path of the file that it was read from."""
    first_row: int
    """Of its rows, in the source."""
    rows: int
    """As many as were read, good and bad."""
    last: bool
    """Whether nothing of its unit comes after it."""
    kept: pa.Table
    """Columns that pass through, of all its rows."""
    pieces: list[Piece]
    """What has answers so far."""
    bad: list[Bad] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Stage → seconds that it worked for this part."""
    peak_mb: dict[str, float] = field(default_factory=dict)
    """Stage → most memory that its process has had so far."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What the inputs hold: the state of a `jobs.profile.Profile`."""
    taken: np.ndarray | None = None
    """Of a sample: each row's position after `first_row`. None: they follow each other."""

    def position(self, row: int) -> int:
        """Where a row lies in the source."""
        return self.first_row + (row if self.taken is None else int(self.taken[row]))

    def packed(self) -> bytes:
        """For the way to another process."""
        return pickle.dumps(self, protocol=5)

    @classmethod
    def unpacked(cls, data: bytes) -> "Part":
        """What `packed` gave; from nowhere but Ray's object store, as to unpickle is to trust."""
        part: Part = pickle.loads(data)
        return part
