"""Write a table's ids and vectors as a vector index."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from configs.errors import ModelError
from servables.files import SAMPLES
from servables.index_exact import LONGEST, Metric
from servables.index_file import IDS, OFFSETS, TEXTS, VECTORS, Index, Kind, read_vectors, save
from servables.index_graph import write_graph
from servables.keys import check_once, column_type, keys, shown

_PIECE = 1 << 16
"""Items that are checked and written at a time."""


def write_index(
    folder: Path, table: pa.Table, key: str, vector: str, metric: Metric = "cosine", kind: Kind = "exact"
) -> Index:
    """Write the files of a version into an existing, empty folder; they can be published as any version's.

    Args:
        key: column of the ids: integers or texts, each once.
        vector: column of the vectors: lists of numbers, all of one size. Kept as FP32.
        metric: what is near: the greatest `cosine` (each vector gets the length 1) or `inner_product`, or the smallest
            distance (`l2`).
        kind: `exact` compares with all items; `faiss` searches in a graph (HNSW), which is built here: seconds for ten
            thousand items, minutes for a million.

    Raises:
        ModelError: names the column, and the key where a row is at fault.
        OSError: the disk refuses.
        MissingExtra: FAISS is not installed.
    """
    index = _write_vectors(folder, table, key, vector, metric)
    if kind == "faiss":
        index = write_graph(folder, index, read_vectors(folder, index))
    save(folder, index)
    return index


def _write_vectors(folder: Path, table: pa.Table, key: str, vector: str, metric: Metric) -> Index:
    """All files but `index.json`, whose content it returns."""
    ids = keys(table, key)
    order = pc.sort_indices(ids)
    check_once(ids.take(order), order, key)
    dimensions = 0
    with (folder / VECTORS).open("xb") as file:
        for first, found in _vectors(table, vector, ids):
            dimensions = dimensions or found.shape[1]
            if found.shape[1] != dimensions:
                raise ModelError(
                    f"column {vector!r}: {_item(ids, first)} has {found.shape[1]} numbers, the first item"
                    f" {dimensions}; all need as many"
                )
            written = _checked(found, ids, first, metric)
            if not first:
                (folder / SAMPLES).write_bytes(orjson.dumps({"vector": [written[0].tolist()]}))
            file.write(written.tobytes())
    _write_ids(folder, ids)
    kind: Literal["INT64", "BYTES"] = "INT64" if pa.types.is_integer(ids.type) else "BYTES"
    return Index(metric=metric, kind="exact", items=len(ids), dimensions=dimensions, ids=kind)


def _vectors(table: pa.Table, vector: str, keys: pa.Array) -> Iterator[tuple[int, np.ndarray]]:
    """Position of a piece's first item, and its vectors, any kind of number [n, d]."""
    type, first = column_type(table.schema, vector), 0
    kinds = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)
    if not any(is_kind(type) for is_kind in kinds) or not _is_number(type.value_type):
        raise ModelError(f"column {vector!r} holds {type}; a vector is a list of numbers")
    for chunk in table[vector].chunks:
        for piece in (chunk.slice(start, _PIECE) for start in range(0, len(chunk), _PIECE)):
            yield first, _matrix(piece, vector, keys, first)
            first += len(piece)


def _matrix(chunk: pa.Array, vector: str, keys: pa.Array, first: int) -> np.ndarray:
    values = chunk.flatten()
    if chunk.null_count or values.null_count:
        raise ModelError(f"column {vector!r} has no vector, or one with gaps (null), in or after {_item(keys, first)}")
    sizes = pc.list_value_length(chunk).to_numpy(zero_copy_only=False)
    if (other := np.flatnonzero(sizes != sizes[0])).size or not sizes[0]:
        at = int(other[0]) if other.size else 0
        raise ModelError(
            f"column {vector!r}: {_item(keys, first + at)} has {sizes[at]} numbers, "
            f"{_item(keys, first)} {sizes[0]}; all need as many, at least one"
        )
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(chunk), -1)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _checked(vectors: np.ndarray, keys: pa.Array, first: int, metric: Metric) -> np.ndarray:
    """FP32 as they are stored."""
    exact = vectors.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1)
    bad = np.flatnonzero(~(lengths <= LONGEST))
    if bad.size:
        raise ModelError(
            f"the vector of {_item(keys, first + int(bad[0]))} holds NaN or infinity, or is longer than "
            f"{LONGEST:g}; leave the item out, or scale all"
        )
    if metric == "cosine":
        if (zero := np.flatnonzero(lengths == 0)).size:
            raise ModelError(
                f"the vector of {_item(keys, first + int(zero[0]))} is all zeros, which has no direction; "
                "leave the item out, or take the metric l2"
            )
        exact /= lengths[:, None]
    return exact.astype("<f4")


def _write_ids(folder: Path, keys: pa.Array) -> None:
    if pa.types.is_integer(keys.type):
        (folder / IDS).write_bytes(keys.to_numpy().astype("<i8").tobytes())
        return
    lengths = pc.binary_length(keys).to_numpy().astype(np.int64)
    (folder / OFFSETS).write_bytes(np.concatenate([[0], np.cumsum(lengths)]).astype("<i8").tobytes())
    with (folder / TEXTS).open("xb") as file:
        for text in keys:
            file.write(text.as_buffer())


def _item(keys: pa.Array, position: int) -> str:
    return f"item {shown(keys[position])}"
