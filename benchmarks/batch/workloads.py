"""What is scored: data, the graph, and which outputs are compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.batch.data import WIDTH, write_digits, write_vectors

GRAPHS = Path(__file__).parent / "graphs"
BATCH_ROWS = 1024
"""Rows in a call of the models, everywhere."""


@dataclass(frozen=True)
class Workload:
    """One graph over one data set."""

    name: str
    about: str
    column: str
    """The only input."""
    datatype: str
    shape: tuple[int, ...]
    """Of a row."""
    outputs: tuple[str, ...]
    rows: int
    """As many as take about half a minute on two cores."""
    write: Callable[[Path, int], None]
    """Folder and rows → the data set."""

    @property
    def graph(self) -> Path:
        """Its YAML file."""
        return GRAPHS / f"{self.name}.yaml"


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            "digits",
            "8×8 images of 64 bytes through five nodes: a CNN, a forest of 60 trees, and light ones around them",
            "image",
            "UINT8",
            (8, 8),
            ("label", "score"),
            1_000_000,
            write_digits,
        ),
        Workload(
            "network",
            "vectors of 2 kB through a light node and the 512→2048→2048→512 perceptron; answers of 2 kB",
            "x",
            "FP32",
            (WIDTH,),
            ("y",),
            320_000,
            write_vectors,
        ),
    )
}
