"""Make the demo's model, index and lookup table, and say how good they are: `python -m examples.recommender.make`."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from examples.recommender.data import Item, load
from examples.recommender.embed import train
from jobs.cluster import connected
from jobs.job import Asked, prepare, run
from jobs.publish import Form, plan, publish
from servables.base import LoadOptions
from servables.index_file import read_index, read_vectors
from servables.index_graph import read_graph
from servables.load import load_servable
from servables.push import push_model
from servables.store import find_version

EMBED, SIMILAR = (Path(__file__).with_name(f"{name}.yaml") for name in ("embed", "similar"))
K = 10

app = typer.Typer(add_completion=False)


@app.command()
def main(
    root: Annotated[Path, typer.Option(help="Folder for models/, indexes/, lookups/ and what lies between.")] = Path(),
) -> None:
    """Embed all items and publish an index; find each one's neighbours and publish a lookup table; takes a minute."""
    items = load()
    typer.echo("\n".join([*make(items, root), *quality(items, root)]))


def make(items: Sequence[Item], root: Path) -> list[str]:
    """Train, publish, and run both batch jobs; Ray is started for them."""
    work = root / ".millrace" / "recommender"
    work.mkdir(parents=True, exist_ok=True)
    write(items, work / "functions.parquet")
    with TemporaryDirectory() as folder:
        train([item.text for item in items], Path(folder))
        pushed = push_model(Path(folder), "functions-embed", root / "models")
    lines = [f"functions-embed version {pushed.version.number} is published: {pushed.version.path}"]
    with connected(None):
        lines += batch(EMBED, root, work, "faiss")
        lines += batch(SIMILAR, root, work, "lookup")
    return lines


def write(items: Sequence[Item], path: Path) -> None:
    """The jobs' input: columns `id` and `text`."""
    pq.write_table(pa.table({"id": [item.id for item in items], "text": [item.text for item in items]}), path)


def batch(graph: Path, root: Path, work: Path, form: Form) -> list[str]:
    """A job over all items, as `millrace batch <graph> --keep id --publish functions` does it."""
    output = str(work / graph.stem)
    job = prepare(Asked(graph, root, [str(work / "functions.parquet")], output, keep=("id",), overwrite=True))
    wanted = plan(job, "functions", "id", form)
    run(job)
    return publish(job.place, wanted).lines()


def quality(items: Sequence[Item], root: Path) -> list[str]:
    """How many of the nearest FAISS finds, and how many of the authors' own recommendations are recommended."""
    table = load_servable(find_version(root / "lookups/functions").path, LoadOptions())
    given = [item for item in items if item.related]
    answers = table({"key": np.array([item.id.encode() for item in given], object)})["ids"]
    found = [len(item.related & {id.decode() for id in ids}) for item, ids in zip(given, answers, strict=True)]
    related = [found[row] / min(K, len(item.related)) for row, item in enumerate(given)]
    return [
        f"recall@{K} of FAISS's graph against exact, over all {len(items):,} items: {recall(root):.4f}",
        f"recall@{K} of what the authors name under See Also, over the {len(given):,} items that have it: "
        f"{np.mean(related):.3f} (by chance {K / len(items):.3f})",
    ]


def recall(root: Path) -> float:
    """Share of the ten nearest items that the published index finds."""
    folder = find_version(root / "indexes/functions").path
    index = read_index(folder)
    vectors = read_vectors(folder, index)
    graph = read_graph(folder, index, vectors, threads=1)
    exact, found = (search.nearest(vectors.matrix, K)[0] for search in (vectors, graph))
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(exact, found, strict=True)]))


if __name__ == "__main__":
    app()
