"""The items nearest to a vector, found by FAISS in a graph of neighbours (HNSW).

The graph is built when an index is written and kept as two arrays, which are checked before FAISS gets them. Its own
files FAISS reads unchecked, so that a damaged one may do anything to the process that opens it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ModelError
from servables.extras import require
from servables.index_exact import Vectors
from servables.index_file import LEVELS, NEIGHBOURS, Index, read_array

LINKS = 32
"""Neighbours of each item, twice as many on the lowest level: the usual."""
EFFORT = 128
"""Items that are kept in sight while the graph is built, and at least so many while it is searched."""
_SAMPLE = 200
_NOBODY = -1
"""Says that there is no neighbour."""


class Graph:
    """Searches with so many threads. One call at a time."""

    def __init__(self, faiss: Any, made: Any, vectors: Vectors, threads: int) -> None:
        self._faiss = faiss
        self._made = made
        self._vectors = vectors
        self._threads = threads

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `Vectors.nearest`; but whoever is not found in the graph is missing, and a farther item has its place."""
        self._made.hnsw.efSearch = max(EFFORT, 2 * k)
        self._faiss.omp_set_num_threads(self._threads)  # counts for the calling thread
        candidates = self._made.search(np.ascontiguousarray(queries), k)[1]
        positions = np.empty((len(queries), k), np.int64)
        scores = np.empty((len(queries), k), np.float32)
        for row, found in enumerate(candidates):
            if found.min() == _NOBODY:  # it met fewer than k: parts of the graph do not hang together
                positions[row : row + 1], scores[row : row + 1] = self._vectors.nearest(queries[row : row + 1], k)
            else:
                positions[row], scores[row] = self._vectors.ranked(queries[row], found, k)
        return positions, scores

    @property
    def size(self) -> int:
        """Bytes of the graph and of FAISS's own copy of the vectors."""
        hnsw = self._made.hnsw
        links = 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
        return int(links + self._vectors.matrix.nbytes)


def write_graph(folder: Path, index: Index, vectors: Vectors) -> Index:
    """Build the graph with all CPUs and write it; gives `index.json`'s new content. Raises MissingExtra."""
    faiss, made = _empty(vectors)
    made.hnsw.efConstruction = EFFORT
    made.add(np.ascontiguousarray(vectors.matrix))
    (folder / LEVELS).write_bytes(faiss.vector_to_array(made.hnsw.levels).astype("<i4").tobytes())
    (folder / NEIGHBOURS).write_bytes(faiss.vector_to_array(made.hnsw.neighbors).astype("<i4").tobytes())
    found = Graph(faiss, made, vectors, faiss.omp_get_max_threads())
    more = {"kind": "faiss", "entry": int(made.hnsw.entry_point), "recall_at_10": _recall(found, vectors)}
    return index.model_copy(update=more)


def read_graph(folder: Path, index: Index, vectors: Vectors, threads: int) -> Graph:
    """The graph that was written for the vectors. Raises ModelError for a damaged one, or MissingExtra."""
    faiss, made = _empty(vectors)
    per_level = faiss.vector_to_array(made.hnsw.cum_nneighbor_per_level).astype(np.int64)
    levels = read_array(folder / LEVELS, "<i4", index.items)
    if levels.min() < 1 or levels.max() >= len(per_level) or index.entry is None or index.entry >= index.items:
        raise _damaged(folder / LEVELS)
    offsets = np.concatenate([[0], np.cumsum(per_level[levels])])
    neighbours = read_array(folder / NEIGHBOURS, "<i4", int(offsets[-1]))
    if levels[index.entry] != levels.max() or not _leads_on(levels, offsets, neighbours, per_level):
        raise _damaged(folder / NEIGHBOURS)
    hnsw = made.hnsw
    faiss.downcast_index(made.storage).add(np.ascontiguousarray(vectors.matrix))
    for array, target in ((levels, hnsw.levels), (offsets, hnsw.offsets), (neighbours, hnsw.neighbors)):
        faiss.copy_array_to_vector(np.array(array, np.uint64 if array is offsets else np.int32), target)
    made.ntotal = index.items
    hnsw.entry_point, hnsw.max_level = index.entry, int(levels.max()) - 1
    return Graph(faiss, made, vectors, threads)


def _empty(vectors: Vectors) -> tuple[Any, Any]:
    faiss = require("faiss", "faiss")
    # Of vectors of length 1 the one with the greatest product is the nearest, and distances make the better graph.
    metric = faiss.METRIC_INNER_PRODUCT if vectors.metric == "inner_product" else faiss.METRIC_L2
    return faiss, faiss.IndexHNSWFlat(vectors.matrix.shape[1], LINKS, metric)


def _leads_on(levels: np.ndarray, offsets: np.ndarray, neighbours: np.ndarray, per_level: np.ndarray) -> bool:
    """Whether each neighbour is an item, and is itself on the level on which it is one: FAISS does not look."""
    if neighbours.min(initial=_NOBODY) < _NOBODY or neighbours.max(initial=_NOBODY) >= len(levels):
        return False
    for level in range(1, int(levels.max())):
        items = np.flatnonzero(levels > level)
        slots = offsets[items, None] + np.arange(per_level[level], per_level[level + 1])
        found = neighbours[slots]
        if (levels[found[found != _NOBODY]] <= level).any():
            return False
    return True


def _recall(graph: Graph, vectors: Vectors) -> float:
    """Share of the ten nearest that it finds, over a sample of the items."""
    items = len(vectors.matrix)
    sample = vectors.matrix[np.unique(np.linspace(0, items - 1, _SAMPLE).astype(int))]
    k = min(10, items)
    right, found = vectors.nearest(sample, k)[0], graph.nearest(sample, k)[0]
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(right, found, strict=True)]))


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is no graph of the index's items: it is damaged; publish the index again")
