"""Vector indexes: the nearest items of a vector, among those that `servables.index.write_index` wrote."""

from pathlib import Path
from typing import Protocol

import numpy as np

from configs.errors import ModelError, RowErrors
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.base import LoadOptions, Servable
from servables.files import matching
from servables.index_exact import LONGEST
from servables.index_file import VECTORS, Ids, Index, read_index, read_vectors
from servables.index_graph import read_graph
from servables.memory import Memory
from servables.tabular import on_cpu_only

NAME = "index"
PATTERNS = (VECTORS,)


class Search(Protocol):
    """Finds the nearest items: exactly, or in a graph."""

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores [rows, k]; see `servables.index_exact`."""
        ...


class IndexServable:
    """One index, and the number of items that it finds for each row."""

    def __init__(self, index: Index, ids: Ids, search: Search, k: int, memory: Memory) -> None:
        self._cosine = index.metric == "cosine"
        self._ids = ids
        self._search = search
        self._k = k
        self._memory = memory
        vector = TensorSpec(datatype=Datatype.FP32, shape=(-1, index.dimensions))
        found = TensorSpec(datatype=Datatype(index.ids), shape=(-1, k))
        scores = TensorSpec(datatype=Datatype.FP32, shape=(-1, k))
        self.signature = Signature(inputs={"vector": vector}, outputs={"ids": found, "scores": scores})

    def __call__(self, rows: Rows) -> Rows:
        """The nearest items of each row, the nearest first. Raises RowErrors for vectors that are near to nothing."""
        positions, scores = self._search.nearest(self._prepared(rows["vector"]), self._k)
        return {"ids": self._ids(positions), "scores": scores}

    def memory(self) -> Memory:
        """Bytes of what is computed when it is loaded. Vectors and ids are mapped from their files."""
        return self._memory

    def close(self) -> None:
        """Drop the index; files stay mapped until the last answer is gone."""
        del self._search, self._ids

    def _prepared(self, vectors: np.ndarray) -> np.ndarray:
        exact = vectors.astype(np.float64)
        lengths = np.linalg.norm(exact, axis=1)
        bad = np.flatnonzero(~(lengths <= LONGEST) | (self._cosine & (lengths == 0)))
        if bad.size:
            raise RowErrors({int(row): _reason(float(lengths[row])) for row in bad})
        return (exact / lengths[:, None]).astype(np.float32) if self._cosine else vectors


def _reason(length: float) -> str:
    if length == 0:
        return "the vector is all zeros, which has no direction for the metric cosine"
    return f"the vector holds NaN or infinity, or is longer than {LONGEST:g}"


def matches(folder: Path) -> bool:
    """Whether a vectors.f32 lies in the folder; an index.json other formats have too."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions) -> Servable:
    """Map the vectors, and give FAISS the graph if there is one. Raises ModelError, MissingExtra."""
    on_cpu_only(folder, NAME, options)
    index = read_index(folder)
    if options.k is None:
        raise ModelError(f"{folder} holds a vector index; a node serves it by `retrieve:`, with `k` neighbours a row")
    if options.k > index.items:
        raise ModelError(
            f"{folder} holds {index.items} items, fewer than the {options.k} that are to be found; give "
            f"the node `k: {index.items}` or less, or publish an index with more"
        )
    vectors, ids = read_vectors(folder, index), Ids(folder, index)
    if index.kind == "exact":
        return IndexServable(index, ids, vectors, options.k, Memory(host=vectors.squares.nbytes))
    graph = read_graph(folder, index, vectors, options.threads)
    return IndexServable(index, ids, graph, options.k, Memory(host=vectors.squares.nbytes + graph.size))
