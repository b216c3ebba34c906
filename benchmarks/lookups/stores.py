"""The stores: each writes the table into a folder, and opens it to answer keys with arrays."""

import importlib
import importlib.util
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.lookups.rows import ROW, WIDTH, key, values
from configs.tensors import Rows
from servables.base import LoadOptions
from servables.load import load_servable
from servables.lookup_file import write_lookup

Ask = Callable[[list[bytes]], Rows]
"""Keys → `items`, `scores` and `found`, one row each; zeros for a key that is not there."""

_PIECE = 10_000


class Store(NamedTuple):
    """How a table is written into an empty folder, and how it is opened."""

    write: Callable[[Path, int], None]
    open: Callable[[Path], Ask]


def _rows(count: int) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, count, _PIECE):
        numbers = range(start, min(start + _PIECE, count))
        for number, row in zip(numbers, values(numbers), strict=True):
            yield key(number), row.tobytes()


def _table(count: int) -> pa.Table:
    rows = values(range(count))
    columns = {name: pa.FixedSizeListArray.from_arrays(rows[name].reshape(-1), WIDTH) for name in ("items", "scores")}
    return pa.table({"user": [key(number) for number in range(count)], **columns})


def _decoded(found: list[Any]) -> Rows:
    """Rows of bytes as arrays; None for a key that is not there."""
    rows = np.frombuffer(b"".join(_NONE if row is None else row for row in found), ROW)
    return {
        "items": rows["items"].copy(),
        "scores": rows["scores"].copy(),
        "found": np.array([row is not None for row in found]),
    }


_NONE = bytes(ROW.itemsize)


def _write_arrow(folder: Path, count: int) -> None:
    write_lookup(folder, _table(count), "user")


def _open_arrow(folder: Path) -> Ask:
    servable = load_servable(folder, LoadOptions())

    def ask(keys: list[bytes]) -> Rows:
        return servable({"key": np.array(keys, object)})

    return ask


def _write_sorted(folder: Path, count: int) -> None:
    table = _table(count)
    table = table.set_column(0, "user", table["user"].cast(pa.large_binary())).sort_by("user").combine_chunks()
    with pa.OSFile(str(folder / "sorted.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _open_sorted(folder: Path) -> Ask:
    batch = pa.ipc.open_file(pa.memory_map(str(folder / "sorted.arrow"))).get_batch(0)
    _, offsets, content = batch.column("user").buffers()
    starts, text, count = np.frombuffer(offsets, np.int64), memoryview(content), batch.num_rows
    columns = {n: batch.column(n).flatten().to_numpy().reshape(count, WIDTH) for n in ("items", "scores")}

    def place(wanted: bytes) -> int:
        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if bytes(text[starts[middle] : starts[middle + 1]]) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < count and text[starts[low] : starts[low + 1]] == wanted else -1

    def ask(keys: list[bytes]) -> Rows:
        places = np.array([place(each) for each in keys])
        rows = {name: column[places] for name, column in columns.items()}
        for row in rows.values():
            row[places < 0] = 0
        return {**rows, "found": places >= 0}

    return ask


def _write_lmdb(folder: Path, count: int) -> None:
    lmdb = importlib.import_module("lmdb")
    with lmdb.open(str(folder), map_size=max(count * 1000, 1 << 20)) as store, store.begin(write=True) as change:
        change.cursor().putmulti(sorted(_rows(count)), append=True)


def _open_lmdb(folder: Path) -> Ask:
    store = importlib.import_module("lmdb").open(str(folder), readonly=True, lock=False)
    reader = store.begin(buffers=True)  # one for all: no version of the table is written to
    return lambda keys: _decoded([reader.get(each) for each in keys])


def _write_sqlite(folder: Path, count: int) -> None:
    with sqlite3.connect(folder / "table.sqlite") as store:
        store.execute("CREATE TABLE rows (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")
        store.executemany("INSERT INTO rows VALUES (?, ?)", sorted(_rows(count)))
    store.close()


def _open_sqlite(folder: Path) -> Ask:
    store = sqlite3.connect(f"file:{folder / 'table.sqlite'}?mode=ro&immutable=1", uri=True)
    store.execute(f"PRAGMA mmap_size = {1 << 40}")

    def ask(keys: list[bytes]) -> Rows:
        marks = ",".join("?" * len(keys))
        found = dict(store.execute(f"SELECT key, row FROM rows WHERE key IN ({marks})", keys))
        return _decoded([found.get(each) for each in keys])

    return ask


def _write_arrays(folder: Path, count: int) -> None:
    np.save(folder / "rows.npy", values(range(count)))


def _open_dict(folder: Path) -> Ask:
    rows = np.load(folder / "rows.npy")
    items, scores = rows["items"].copy(), rows["scores"].copy()
    place_of = {key(number): number for number in range(len(rows))}
    del rows

    def ask(keys: list[bytes]) -> Rows:
        places = np.array([place_of.get(each, -1) for each in keys])
        found = places >= 0
        return {"items": items[places] * found[:, None], "scores": scores[places] * found[:, None], "found": found}

    return ask


OURS = "Arrow, sorted by CRC-32 (`lookup`)"
STORES: dict[str, Store] = {
    OURS: Store(_write_arrow, _open_arrow),
    "Arrow, sorted by keys": Store(_write_sorted, _open_sorted),
    "LMDB": Store(_write_lmdb, _open_lmdb),
    "SQLite": Store(_write_sqlite, _open_sqlite),
    "dict and arrays in the process": Store(_write_arrays, _open_dict),
}


def missing() -> list[str]:
    """Stores whose library is not installed."""
    return [] if importlib.util.find_spec("lmdb") else ["LMDB"]
