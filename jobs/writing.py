"""What a job writes: outputs beside the columns that are kept, in files that appear whole or not at all."""

from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import fs

from configs.errors import ConfigError, NodeError
from configs.tensors import Datatype, Rows, TensorSpec
from deployments.protocols.binary import bytes_elements
from jobs.encoding import encode, lines
from jobs.places import is_url, local_path, open_place, refusals
from servables.push import sync_folder, write_file
from servables.sources.base import without_secrets

_UNFINISHED = ".part"


def check_names(kept: Iterable[str], outputs: Iterable[str]) -> None:
    """Raises ConfigError if a kept column has the name of an output, or is kept twice."""
    names = list(kept)
    if both := sorted(set(names) & set(outputs)):
        raise ConfigError(
            f"{', '.join(map(repr, both))}: the graph has an output of this name, so the column cannot be kept; "
            "rename the column, or do not keep it"
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{', '.join(map(repr, twice))}: a column can be kept once; name it once")


def check_types(schemas: Mapping[str, pa.Schema], kept: Iterable[str]) -> None:
    """Raises ConfigError if a kept column is of other types in other files: no reader could open the output as one.

    Args:
        schemas: file → its columns.
    """
    for name in kept:
        found = {schema.field(name).type: file for file, schema in reversed(list(schemas.items()))}
        if len(found) > 1:
            here, there = sorted(found.items(), key=lambda each: each[1])[:2]
            raise ConfigError(
                f"column {name!r} cannot be kept: it is {here[0]} in {here[1]} and {there[0]} in {there[1]}; write it "
                "as one type, or score these files by jobs of their own"
            )


def to_table(kept: pa.Table, outputs: Rows, specs: Mapping[str, TensorSpec] | None = None) -> pa.Table:
    """The kept columns, then a column for each output: numbers as they are, BYTES as binary, FP16 and BF16 as float32.

    A row of rank 1 and more is nested lists of fixed sizes; where `specs` says that a dimension may have any size the
    lists have none, so that all files of a job have the same columns.

    Raises NodeError for an output that is not as `specs` says.
    """
    columns = dict(zip(kept.column_names, kept.columns, strict=True))  # a table without columns has no rows
    for name, array in outputs.items():
        spec = (specs or {}).get(name)
        if spec is not None and not _keeps_to(spec, array):
            raise NodeError(
                f"output {name!r} has rows of shape {list(array.shape[1:])}, but is declared as {spec}, and all files "
                "of a job have the same columns; declare the node's `outputs:` as they are, -1 where sizes differ"
            )
        columns[name] = _column(array, spec.shape[1:] if spec is not None else array.shape[1:])
    return pa.table(columns)


def _keeps_to(spec: TensorSpec, array: np.ndarray) -> bool:
    return len(spec.shape) == array.ndim and all(
        wanted in (-1, size) for wanted, size in zip(spec.shape, array.shape, strict=True)
    )


def _column(array: np.ndarray, sizes: tuple[int, ...]) -> pa.Array:
    values = _flat(array)
    for axis in range(array.ndim - 1, 0, -1):
        if sizes[axis - 1] > 0:
            values = pa.FixedSizeListArray.from_arrays(values, array.shape[axis])
        else:
            offsets = np.arange(prod(array.shape[:axis]) + 1) * array.shape[axis]
            values = pa.ListArray.from_arrays(offsets.astype(np.int32), values)
    return values


def _flat(array: np.ndarray) -> pa.Array:
    if array.dtype.kind in "OSU":
        return pa.array(bytes_elements(array), pa.binary())
    if Datatype.of(array) in (Datatype.FP16, Datatype.BF16):
        array = array.astype(np.float32)
    return pa.array(np.ascontiguousarray(array).reshape(-1))


class Place:
    """A folder of files, each of which appears whole or not at all. Picklable; names are relative, with `/`.

    On this machine a file is written under a hidden name, synced and renamed. Behind a URL it is put in one piece:
    object stores (S3, GCS, Azure) show it when it is complete; what other file systems do is theirs.
    """

    def __init__(self, url: str) -> None:
        self.url = url if is_url(url) else local_path(url)
        self.name = without_secrets(self.url)
        """For messages."""

    def __str__(self) -> str:
        return self.name

    def path(self, name: str = "") -> str:
        """Path of a file in the file system."""
        root = open_place(self.url)[1]
        return f"{root}/{name}" if name else root

    def exists(self, name: str = "") -> bool:
        """Whether there is a file or folder of this name; without a name: whether the place is there."""
        with refusals(self._named(name)):
            return bool(self._system.get_file_info(self.path(name)).type != fs.FileType.NotFound)

    def names(self, folder: str = "") -> list[str]:
        """Names of all files in a folder and below it, sorted; hidden ones, so also unfinished ones, are left out."""
        return [name for name in self._all(folder) if not any(part.startswith(".") for part in name.split("/"))]

    def read(self, name: str) -> bytes:
        """Raises ConfigError if there is no such file or it cannot be read."""
        with refusals(self._named(name)), self._system.open_input_stream(self.path(name)) as file:
            return bytes(file.read())

    def write(self, name: str, content: bytes | pa.Buffer) -> None:
        """Write a file, in place of one of the same name. Raises ConfigError; then nothing was written."""
        with refusals(self._named(name)):
            if is_url(self.url):
                self._put(name, content)
            else:
                _write_local(Path(self.path(name)), content)

    def write_table(
        self, name: str, table: pa.Table, format: str = "parquet", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write a table as `jobs.encoding.encode` makes a file of it; see `write`."""
        self.write(name, encode(table, format, metadata or {}))

    def write_lines(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Write records as JSON lines; see `write`."""
        self.write(name, lines(records))

    def read_json(self, name: str) -> Any:
        """The JSON value in a file; None if there is no such file. Raises ConfigError if it is not JSON."""
        if not self.exists(name):
            return None
        try:
            return orjson.loads(self.read(name))
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{self}/{name} is not JSON ({error}); restore it, or write elsewhere") from None

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON with sorted keys; see `write`."""
        self.write(name, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))

    def delete(self, name: str) -> None:
        """Remove a file, or a folder with all that it holds. It need not exist."""
        with refusals(self._named(name)):
            kind = self._system.get_file_info(self.path(name)).type
            if kind == fs.FileType.Directory:
                self._system.delete_dir(self.path(name))
            elif kind != fs.FileType.NotFound:
                self._system.delete_file(self.path(name))

    def tidy(self) -> None:
        """Remove unfinished files of writers that were killed. Nobody else may be writing here."""
        for name in self._all(""):
            base = name.rsplit("/", 1)[-1]
            if base.startswith(".") and base.endswith(_UNFINISHED):
                self.delete(name)

    @property
    def _system(self) -> Any:
        return open_place(self.url)[0]

    def _named(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url

    def _all(self, folder: str) -> list[str]:
        start = self.path(folder)
        with refusals(self._named(folder)):
            found = self._system.get_file_info(fs.FileSelector(start, allow_not_found=True, recursive=True))
        prefix = f"{folder}/" if folder else ""
        return sorted(prefix + info.path.removeprefix(start).lstrip("/") for info in found if info.is_file)

    def _put(self, name: str, content: bytes | pa.Buffer) -> None:
        path = self.path(name)
        # Other stores need the folder, or make nothing of it; in these two it would be an empty object.
        if not isinstance(self._system, fs.S3FileSystem | fs.GcsFileSystem):
            self._system.create_dir(path.rpartition("/")[0], recursive=True)
        with self._system.open_output_stream(path) as file:
            file.write(content)


def _write_local(path: Path, content: bytes | pa.Buffer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:12]}{_UNFINISHED}")
    try:
        write_file(unfinished, content)  # type: ignore[arg-type]  # anything with a buffer can be written
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)  # after success it is gone: renamed
    sync_folder(path.parent)
