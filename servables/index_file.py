"""The files of a vector index: `index.json`, vectors as they lie in memory, ids; and the graph of its neighbours."""

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.errors import ModelError
from servables.index_exact import Metric, Vectors

FILE = "index.json"
VECTORS = "vectors.f32"
IDS = "ids.i64"
"""Ids that are integers."""
TEXTS = "ids.bytes"
"""Ids that are texts, one after the other."""
OFFSETS = "ids.offsets"
"""Where each text begins, and where the last one ends: INT64."""
LEVELS = "graph.levels"
NEIGHBOURS = "graph.neighbours"
"""INT32; see `servables.index_graph`."""
REMEDY = "publish the index again (`millrace batch … --publish NAME --publish-as index`)"

Kind = Literal["exact", "faiss"]
Count = Annotated[int, Field(ge=1, lt=2**31)]


class Index(BaseModel):
    """Content of `index.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = 1
    """Of the files; another number is another layout."""
    metric: Metric
    kind: Kind
    items: Count
    dimensions: Count
    ids: Literal["INT64", "BYTES"]
    entry: int | None = Field(None, ge=0)
    """Item at which a search in the graph begins."""
    recall_at_10: float | None = None
    """Share of the ten nearest items that the graph finds, over a sample of the items themselves."""


def save(folder: Path, index: Index) -> None:
    """Write `index.json`."""
    (folder / FILE).write_bytes(orjson.dumps(index.model_dump(exclude_none=True), option=orjson.OPT_INDENT_2))


def read_index(folder: Path) -> Index:
    """What `index.json` says. Raises ModelError."""
    path = folder / FILE
    try:
        index = Index.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; {REMEDY}") from None
    except (ValidationError, OSError) as error:
        raise ModelError(f"{path}: {_why(error)}; {REMEDY}") from error
    return index


def _why(error: ValidationError | OSError) -> str:
    if isinstance(error, OSError):
        return str(error.strerror)
    problem = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'content'}: {problem['msg']}"


def read_vectors(folder: Path, index: Index) -> Vectors:
    """The vectors, mapped from their file. Raises ModelError if it is damaged."""
    flat = read_array(folder / VECTORS, "<f4", index.items * index.dimensions)
    vectors = Vectors.of(flat.reshape(index.items, index.dimensions), index.metric)
    if not np.isfinite(vectors.longest):
        raise ModelError(f"{folder / VECTORS} holds values that are no finite numbers; {REMEDY}")
    return vectors


class Ids:
    """Id of each item, by its position. Raises ModelError if their files are damaged."""

    def __init__(self, folder: Path, index: Index) -> None:
        self._texts = None
        if index.ids == "INT64":
            self._ids = read_array(folder / IDS, "<i8", index.items)
            return
        self._ids = read_array(folder / OFFSETS, "<i8", index.items + 1)
        size = int(self._ids[-1])
        if self._ids[0] != 0 or (np.diff(self._ids) < 0).any():
            raise ModelError(f"{folder / OFFSETS} is damaged: offsets must rise from 0; {REMEDY}")
        self._texts = read_array(folder / TEXTS, "u1", size)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Ids at positions of any shape: INT64, or `bytes` in an object array."""
        if self._texts is None:
            return np.asarray(self._ids[positions], np.int64)
        found = np.empty(positions.size, object)
        for place, position in enumerate(positions.ravel().tolist()):
            found[place] = self._texts[self._ids[position] : self._ids[position + 1]].tobytes()
        return found.reshape(positions.shape)


def read_array(path: Path, dtype: str, size: int) -> np.ndarray:
    """The numbers of a file, mapped: what is not used takes no memory. Raises ModelError unless it has so many."""
    wanted = size * np.dtype(dtype).itemsize
    try:
        found = path.stat().st_size
        if found != wanted:
            raise ModelError(f"{path} is damaged: it has {found:,} bytes, not {wanted:,}; {REMEDY}")
        return np.asarray(np.memmap(path, dtype, "r", shape=(size,))) if size else np.empty(0, dtype)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; {REMEDY}") from error
