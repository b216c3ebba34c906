"""`warmup.json` of a version folder: rows that the model is called with before any request is."""

import base64
import binascii
import json
import math
import reprlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from configs.errors import ModelError
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.files import SAMPLES


def warmup_rows(folder: Path, signature: Signature) -> Rows | None:
    """The rows that its publisher gave, or one row of zeros; None where nobody can say what the model takes.

    `warmup.json` is `{"<input>": [<row>, …], …}`; a BYTES element is a text, or `{"b64": "…"}`. Without it, inputs that
    are BYTES or have open sizes cannot be made up.

    Raises:
        ModelError: the file does not fit the model's inputs; the message says where.
    """
    inputs = signature.inputs or {}
    path = folder / SAMPLES
    if path.exists():
        return _read(path, signature)
    if not inputs or any(spec.datatype == "BYTES" or -1 in spec.shape[1:] for spec in inputs.values()):
        return None
    return {name: np.zeros((1, *spec.shape[1:]), spec.datatype.dtype) for name, spec in inputs.items()}


def batch_sizes(max_rows: int) -> list[int]:
    """Sizes of calls that a framework or its allocator may meet for the first time: powers of 2, and the largest."""
    return [*(2**power for power in range(max_rows.bit_length()) if 2**power < max_rows), max_rows]


def repeated(rows: Rows, count: int) -> Rows:
    """So many rows: the given ones, again and again."""
    return {name: np.resize(array, (count, *array.shape[1:])) for name, array in rows.items()}


def _read(path: Path, signature: Signature) -> Rows:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(f"{path} is not readable JSON: {error}") from error
    inputs = signature.inputs or {}
    if not isinstance(content, dict) or (inputs and content.keys() != inputs.keys()):
        given = ", ".join(content) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise ModelError(f"{path} gives {given or 'nothing'}; give rows for {', '.join(inputs) or 'each input'}")
    rows = {name: _array(path, name, value, inputs.get(name)) for name, value in content.items()}
    if len({len(array) for array in rows.values()}) > 1 or not all(map(len, rows.values())):
        raise ModelError(f"{path}: every input needs the same number of rows, at least one")
    return rows


def _array(path: Path, name: str, value: Any, spec: TensorSpec | None) -> np.ndarray:
    try:
        array = np.array(_with_bytes(value), None if spec is None else object)
        found = array if spec is None else _typed(array, spec.datatype)
    except (TypeError, ValueError, OverflowError, RecursionError, binascii.Error) as error:
        raise ModelError(f"{path}: {name}: {error}") from error
    if array.ndim == 0 or (spec is not None and not spec.fits(_spec_of(found))):
        raise ModelError(f"{path}: {name} has shape {list(array.shape)}, but the model takes {spec or 'rows'}")
    return found


def _typed(values: np.ndarray, datatype: Datatype) -> np.ndarray:
    """An object array of what JSON holds, in a datatype. Raises ValueError for an element that it cannot hold."""
    kind, least, most = _limits(datatype)
    for value in values.ravel():
        if not isinstance(value, kind):
            raise ValueError(f"{reprlib.repr(value)} is no {datatype}")
        if isinstance(value, int | float) and math.isfinite(value) and not least <= value <= most:
            raise ValueError(f"{reprlib.repr(value)} is no {datatype}: those go from {least} to {most}")
    return values.astype(datatype.dtype)


def _limits(datatype: Datatype) -> tuple[Any, float, float]:
    """Python's type of an element, and the smallest and largest where it is a number."""
    if datatype is Datatype.BYTES:
        return bytes, 0, 0
    if datatype is Datatype.BOOL:
        return bool, 0, 1
    if datatype.dtype.kind in "iu":
        return int, np.iinfo(datatype.dtype).min, np.iinfo(datatype.dtype).max
    floats = ml_dtypes.finfo(datatype.dtype)
    return int | float, float(floats.min), float(floats.max)


def _spec_of(array: np.ndarray) -> TensorSpec:
    return TensorSpec(datatype=Datatype.of(array), shape=(-1, *array.shape[1:]))


def _with_bytes(value: Any) -> Any:
    match value:
        case list():
            return [_with_bytes(each) for each in value]
        case str():
            return value.encode()
        case {"b64": str(text), **others} if not others:
            return base64.b64decode(text, validate=True)
    return value
