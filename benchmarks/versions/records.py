"""What the load generator writes down: a record of every request."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NONE = -1
"""Version of a request that was lost."""
RECORD = np.dtype(
    [("stream", np.uint8), ("planned", np.float64), ("sent", np.float64), ("ended", np.float64), ("version", np.int32)]
)
"""Times in seconds since 1970; `stream` is an index into `Records.streams`."""


@dataclass(frozen=True)
class Records:
    """One run of the generator."""

    streams: list[tuple[str, str]]
    """Model and protocol of each stream."""
    requests: np.ndarray
    """Of dtype RECORD, in the order in which they ended."""
    lost: list[tuple[float, str, str]]
    """When each lost request was planned, its stream, the reason."""
    busy: float
    """The generator's CPU time, as a share of one core."""

    def save(self, folder: Path) -> None:
        """Write it into files of this folder."""
        np.save(folder / _REQUESTS, self.requests)
        (folder / _REST).write_text(json.dumps({"streams": self.streams, "lost": self.lost, "busy": self.busy}))


_REQUESTS, _REST = "requests.npy", "records.json"


def load_records(folder: Path) -> Records:
    """What `save` wrote."""
    rest = json.loads((folder / _REST).read_text())
    streams = [(model, protocol) for model, protocol in rest["streams"]]
    lost = [(planned, stream, why) for planned, stream, why in rest["lost"]]
    return Records(streams, np.load(folder / _REQUESTS), lost, rest["busy"])
