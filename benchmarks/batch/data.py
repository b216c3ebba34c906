"""The data sets that are scored: handwritten digits over and over, and random vectors."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

KEY = "id"
"""Column that tells rows apart; it passes through."""
FILE_ROWS = 16_384
WIDTH = 512
"""Numbers that the network takes."""


def write_digits(folder: Path, rows: int) -> None:
    """Column `image`, UINT8 [8, 8]: scikit-learn's 1,797 digits, drawn at random; files of `FILE_ROWS`."""
    from sklearn.datasets import load_digits

    digits, random = np.asarray(load_digits().images, np.uint8), np.random.default_rng(0)
    for start in range(0, rows, FILE_ROWS):
        count = min(FILE_ROWS, rows - start)
        write(folder, start, "image", digits[random.integers(0, len(digits), count)])


def write_vectors(folder: Path, rows: int) -> None:
    """Column `x`, FP32 [512]: normal noise, which does not compress; files of `FILE_ROWS`."""
    random = np.random.default_rng(0)
    for start in range(0, rows, FILE_ROWS):
        write(folder, start, "x", random.standard_normal((min(FILE_ROWS, rows - start), WIDTH), np.float32))


def write(folder: Path, start: int, column: str, values: np.ndarray) -> None:
    """One file: keys from `start` on, and a column of tensors."""
    keys = pa.array(np.arange(start, start + len(values)))
    table = pa.table({KEY: keys, column: pa.FixedShapeTensorArray.from_numpy_ndarray(values)})
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{start:010d}.parquet", compression="none", use_dictionary=False)


def outputs_of(folder: Path, columns: tuple[str, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Keys in rising order, and columns as [rows, …] in the same order, of all Parquet files of a folder."""
    tables = [pq.read_table(file, columns=[KEY, *columns]) for file in sorted(folder.glob("*.parquet"))]
    keys = np.concatenate([flat(table[KEY]) for table in tables])
    order = np.argsort(keys, kind="stable")
    values = {name: np.concatenate([flat(t[name]).reshape(t.num_rows, -1) for t in tables]) for name in columns}
    return keys[order], {name: column[order] for name, column in values.items()}


def flat(column: pa.ChunkedArray) -> np.ndarray:
    """All elements of a column of numbers, tensors or lists, whoever wrote it."""
    array = column.combine_chunks()
    array = array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
    while not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array.flatten()
    return np.asarray(array.to_numpy(zero_copy_only=False))
