"""Lookup tables: a row by its key, read from a file that is mapped into memory."""

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ModelError, RowErrors
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.base import LoadOptions, Servable
from servables.files import matching, one_line, only_file
from servables.memory import Memory

NAME = "lookup"
PATTERNS = ("lookup.arrow",)

_REMEDY = "write the table again with `servables.lookup_file.write_lookup`, and push it as a new version"

Find = Callable[[np.ndarray], np.ndarray]
"""Keys → INT64 [keys]: the row of each; -1 where there is none."""
Take = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Rows, -1 for none, and where those are → their values; of none zeros or empty bytes."""


class LookupServable:
    """One table. The file stays on the disk: what is read of it is shared by all processes that have it open."""

    def __init__(self, signature: Signature, find: Find, columns: dict[str, Take]) -> None:
        self.signature = signature
        self._find = find
        self._columns = columns

    def __call__(self, rows: Rows) -> Rows:
        """The values of each `key`, and whether it was `found`."""
        places = self._find(rows["key"])
        missed = (places < 0).nonzero()[0]
        outputs = {name: take(places, missed) for name, take in self._columns.items()}
        outputs["found"] = places >= 0
        return outputs

    def memory(self) -> Memory:
        """Nothing that closing it frees: the system keeps of the file what it has room for."""
        return Memory()

    def close(self) -> None:
        """Let go of the file, which is unmapped with the last reference."""
        del self._find, self._columns


def matches(folder: Path) -> bool:
    """Whether a lookup.arrow lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions) -> Servable:
    """Map the table. Raises ModelError for a file that is no whole lookup table."""
    path = only_file(folder, PATTERNS)
    try:
        return _open(path)
    except (ValueError, OSError, LookupError, TypeError) as error:  # pyarrow's errors are among them
        raise ModelError(f"{path} does not load as a lookup table: {one_line(error)}; {_REMEDY}") from error


def _open(path: Path) -> LookupServable:
    import pyarrow as pa

    from servables.lookup_file import FOUND, HASH, KEY, read_specs
    from servables.mapped_batch import map_batch

    batch = map_batch(path)
    specs = read_specs(batch.schema.metadata)
    if not batch.num_rows:
        raise ValueError("it has no rows")
    batch.validate(full=True)  # offsets of text that lead out of the file, for example
    keys = batch.column(KEY)
    key = TensorSpec(datatype=Datatype.INT64 if keys.type == pa.int64() else Datatype.BYTES, shape=(-1,))
    find = (
        _by_integer(_numbers(keys)) if key.datatype is Datatype.INT64 else _by_text(_numbers(batch.column(HASH)), keys)
    )
    columns = {name: _taker(batch.column(name), spec) for name, spec in specs.items()}
    found = TensorSpec(datatype=Datatype.BOOL, shape=(-1,))
    return LookupServable(Signature(inputs={KEY: key}, outputs={**specs, FOUND: found}), find, columns)


def _by_integer(keys: np.ndarray) -> Find:
    _check_sorted(keys)

    def find(wanted: np.ndarray) -> np.ndarray:
        places = keys.searchsorted(wanted)
        places[places == len(keys)] = 0
        places[keys[places] != wanted] = -1
        return places

    return find


def _by_text(hashes: np.ndarray, keys: Any) -> Find:
    from servables.lookup_file import hashed

    _check_sorted(hashes)
    text = _Text(keys)

    def find(wanted: np.ndarray) -> np.ndarray:
        texts = _encoded(wanted.tolist())
        wanted_hashes = hashed(texts)
        places = hashes.searchsorted(wanted_hashes)
        for index, place in enumerate(places.tolist()):
            if place == len(hashes) or text[place] != texts[index]:
                places[index] = _further(text, hashes, place, wanted_hashes[index], texts[index])
        return places

    return find


def _encoded(keys: list[Any]) -> list[bytes]:
    """Keys as bytes. Raises RowErrors for what is neither text nor bytes."""
    try:
        return [key if isinstance(key, bytes) else str.encode(key) for key in keys]
    except (TypeError, UnicodeEncodeError):
        bad = {row: key for row, key in enumerate(keys) if not _is_text(key)}
        raise RowErrors({row: f"the key {key!r:.100} is no text; send UTF-8" for row, key in bad.items()}) from None


def _is_text(key: object) -> bool:
    return isinstance(key, bytes) or (isinstance(key, str) and not any("\ud800" <= each <= "\udfff" for each in key))


def _further(text: "_Text", hashes: np.ndarray, first: int, hash: np.uint32, key: bytes) -> int:
    """The row of a key among those that have its hash, from `first` on; -1 if none is it."""
    if first == len(hashes) or hashes[first] != hash:
        return -1
    end = int(hashes.searchsorted(hash, "right"))
    place = bisect_left(range(end), key, first, key=text.__getitem__)
    return place if place < end and text[place] == key else -1


def _check_sorted(values: np.ndarray) -> None:
    if (values[1:] < values[:-1]).any():
        raise ValueError("its keys are not in order")


class _Text:
    """The elements of a large_binary array, out of its buffers."""

    def __init__(self, array: Any) -> None:
        if str(array.type) != "large_binary":
            raise ValueError(f"a column of text holds {array.type}")
        _, offsets, content = array.buffers()
        self._offsets = memoryview(offsets).cast("b").cast("q")[array.offset :]
        self._content = memoryview(content or b"")

    def __getitem__(self, place: int) -> bytes:
        return bytes(self._content[self._offsets[place] : self._offsets[place + 1]])


def _taker(array: Any, spec: TensorSpec) -> Take:
    """How to take rows of a column. Raises ValueError if it is not what its spec says."""
    shape = spec.shape[1:]
    size = int(np.prod(shape))
    elements = array.flatten() if shape else array
    if len(elements) != len(array) * size:
        raise ValueError(f"a column of {spec} has {len(elements)} elements in {len(array)} rows")
    if spec.datatype is Datatype.BYTES:
        return _texts(_Text(elements), shape, size)
    values = _numbers(elements).reshape(len(array), *shape)
    stored = np.dtype(np.uint8) if spec.datatype is Datatype.BOOL else spec.datatype.dtype
    if values.dtype != stored:
        raise ValueError(f"a column of {spec.datatype} holds {values.dtype}")
    return _rows(values.view(spec.datatype.dtype))


def _numbers(array: Any) -> np.ndarray:
    """The array itself: nothing is read."""
    return array.to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]


def _rows(values: np.ndarray) -> Take:
    def take(places: np.ndarray, missed: np.ndarray) -> np.ndarray:
        taken: np.ndarray = values[places]  # the last row for a missing one
        if missed.size:
            taken[missed] = 0
        return taken

    return take


def _texts(text: _Text, shape: tuple[int, ...], size: int) -> Take:
    def take(places: np.ndarray, missed: np.ndarray) -> np.ndarray:
        taken = np.full((len(places), size), b"", object)
        for row, place in enumerate(places.tolist()):
            if place >= 0:
                taken[row] = [text[index] for index in range(place * size, (place + 1) * size)]
        return taken.reshape(len(places), *shape)

    return take
