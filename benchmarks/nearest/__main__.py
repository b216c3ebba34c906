"""The command `python -m benchmarks.nearest`: exact indexes beside FAISS's graph; writes RESULTS.md."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

from benchmarks.nearest.vectors import Vectors, made_up, sentences
from configs.tensors import Rows
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.index_file import Kind
from servables.index_write import write_index
from servables.load import load_servable

K = 10
TOGETHER = 64
RESULTS = Path(__file__).with_name("RESULTS.md")
KINDS: tuple[Kind, ...] = ("exact", "faiss")

app = typer.Typer(add_completion=False)


class Measured(NamedTuple):
    """One index, searched by one thread."""

    vectors: Vectors
    kind: Kind
    build_s: float
    load_s: float
    one_ms: float
    """Of a call with one row, the median. Time of the CPU, as of all calls: what else the machine does is not in it."""
    row_ms: float
    """Of a row in calls with 64."""
    recall: float


@app.command()
def main(
    sizes: Annotated[str, typer.Option(help="Of made-up vectors, with commas.")] = "10000,100000,1000000",
    most_built: Annotated[int, typer.Option(help="More items get no graph: it takes minutes.")] = 100_000,
) -> None:
    """Write, load and ask indexes of 128 dimensions by the metric cosine."""
    rows = ["| vectors | items | index | built, s | loaded, s | one row, ms | of 64 rows, ms a row | recall@10 |"]
    rows.append("|---|---:|---|---:|---:|---:|---:|---:|")
    limits = require("threadpoolctl", "sklearn").threadpool_limits
    for vectors in (sentences(), *(made_up(int(size)) for size in sizes.split(","))):
        right: np.ndarray | None = None
        for kind in KINDS if len(vectors.items) <= most_built else KINDS[:1]:
            measured, found = measure(vectors, kind, limits, right)
            right = found if right is None else right
            rows.append(line(measured))
            typer.echo(rows[-1])
    RESULTS.write_text("\n".join([TITLE, "", *rows, ""]))


def measure(vectors: Vectors, kind: Kind, limits: Any, right: np.ndarray | None) -> tuple[Measured, np.ndarray]:
    """The figures, and the ids that were found."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        flat = pa.FixedSizeListArray.from_arrays(vectors.items.ravel(), vectors.items.shape[1])
        table = pa.table({"id": np.arange(len(flat)), "vector": flat})
        started = time.process_time()
        write_index(folder, table, "id", "vector", "cosine", kind)
        built = time.process_time()
        servable = load_servable(folder, LoadOptions(k=K))
        loaded = time.process_time()
        with limits(1):
            one = [seconds(servable, vectors.queries[row : row + 1]) for row in range(len(vectors.queries))]
            starts = range(0, len(vectors.queries) - TOGETHER, TOGETHER)
            together = [seconds(servable, vectors.queries[row : row + TOGETHER]) for row in starts]
            found = servable({"vector": vectors.queries})["ids"]
        servable.close()
    share = (
        1.0 if right is None else np.mean([len(np.intersect1d(*pair)) for pair in zip(right, found, strict=True)]) / K
    )
    one_ms, row_ms = 1000 * float(np.median(one)), 1000 * float(np.median(together)) / TOGETHER
    return Measured(vectors, kind, built - started, loaded - built, one_ms, row_ms, float(share)), found


def seconds(servable: Servable, queries: np.ndarray) -> float:
    """Of one call, of this thread's CPU."""
    rows: Rows = {"vector": queries}
    started = time.thread_time()
    servable(rows)
    return time.thread_time() - started


def line(each: Measured) -> str:
    """A row of the table."""
    figures = f"{each.build_s:.1f} | {each.load_s:.2f} | {each.one_ms:.2f} | {each.row_ms:.3f}"
    return f"| {each.vectors.name} | {len(each.vectors.items):,} | {each.kind} | {figures} | {each.recall:.3f} |"


TITLE = """# The nearest of many vectors

`python -m benchmarks.nearest`: 128 dimensions, cosine, k = 10. All times are of the CPU: of the thread that asks, of
all cores that build. `sentences` are those of the docstrings of NumPy, SciPy and scikit-learn, embedded by the
demo's model; recall is over 500 vectors that are not in the index, against the exact one."""

if __name__ == "__main__":
    app()
