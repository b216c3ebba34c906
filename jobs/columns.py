"""Columns of a table to the inputs of a graph: exactly, without a Python object a value where nothing is wrong."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types as arrow_types

from configs.errors import ConfigError, InvalidInput
from configs.problems import nearest
from configs.tensors import Datatype, Rows, TensorSpec
from deployments.protocols.nested import to_array
from deployments.protocols.request import check_rows, shown
from jobs.layouts import is_list, levels, may_become, storage

_NEVER = "a column of {type} can never become {spec}"


class _Misfit(Exception):
    """Some row of an array is not what the input takes. The message is the reason, true of a single row."""


def check(schema: pa.Schema, inputs: Mapping[str, TensorSpec], columns: Mapping[str, str]) -> None:
    """Check that each input has a column, of a type whose values may fit.

    Args:
        columns: input → column, where their names differ.

    Raises:
        ConfigError: lists every missing column, type that cannot fit, name in `columns` that is no input, and input
            that is one number for all rows (`TensorSpec.is_shared`): those come from `constants`, not from a column.
    """
    problems = [f"{name!r} is no input of the graph{_hint(name, inputs)}" for name in columns if name not in inputs]
    for name, spec in inputs.items():
        column = columns.get(name, name)
        if spec.is_shared:
            problems.append(
                f"input '{name}' ({spec}) is one number for all rows, and a column has one a row; give it a constant"
            )
        elif column not in schema.names:
            problems.append(f"input '{name}' ({spec}): there is no column {column!r}{_hint(column, schema.names)}")
        elif schema.names.count(column) > 1:
            problems.append(f"input '{name}' ({spec}): there is more than one column {column!r}; rename the others")
        elif why := _never(schema.field(column).type, spec):
            problems.append(f"input '{name}': column {column!r}: {why}")
    if problems:
        raise ConfigError("\n".join(problems))


def constants(values: Mapping[str, Any], inputs: Mapping[str, TensorSpec]) -> Rows:
    """The inputs that are one number for all rows: name → array of shape [1]. Raises ConfigError."""
    rows: Rows = {}
    for name, value in values.items():
        spec = inputs.get(name)
        if spec is None or not spec.is_shared:
            raise ConfigError(f"{name!r} is no input with one number for all rows (shape [1]){_hint(name, inputs)}")
        try:
            rows[name] = to_array(name, [value], spec, b"true false")
            check_rows({name: rows[name]}, {name: spec})
        except InvalidInput as error:
            raise ConfigError(f"constant: {error.message}") from None
    return rows


def types(inputs: Mapping[str, TensorSpec], columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    """Column → type as which CSV and JSONL are read for these inputs: wide, as `to_rows` narrows and checks."""
    return {columns.get(name, name): _wide(spec) for name, spec in inputs.items() if not spec.is_shared}


def to_rows(
    table: pa.Table, inputs: Mapping[str, TensorSpec], columns: Mapping[str, str]
) -> tuple[Rows, np.ndarray, dict[int, str]]:
    """The rows that fit, as arrays of the inputs' dtypes and shapes; their indices in the table; index → reason.

    Integers must be in range, floats that become integers whole; floats are rounded to the input's precision and may
    not become infinite; NaN is bad only where the input has a minimum or maximum. A flat list as long as the input's
    fixed dimensions together is taken in row-major order. Text is not parsed: `types` is for that.
    Where an input has dimensions of any size, rows of one size go together: of several sizes the most frequent are
    taken, and the others are bad; `same_shapes` divides the table before.
    """
    arrays = {name: storage(table[columns.get(name, name)]) for name, spec in inputs.items() if not spec.is_shared}
    try:
        quick = {name: _array(array, inputs[name]) for name, array in arrays.items()}
    except _Misfit:
        return _slowly(arrays, inputs, table.num_rows)
    return quick, np.arange(table.num_rows), {}


def same_shapes(table: pa.Table, inputs: Mapping[str, TensorSpec], columns: Mapping[str, str]) -> list[np.ndarray]:
    """Indices of rows that `to_rows` can put together: one array unless lists have several lengths; none is missing."""
    specs = {name: spec for name, spec in inputs.items() if not spec.is_shared}
    return _groups([storage(table[columns.get(name, name)]) for name in specs], list(specs.values()), table.num_rows)


def _slowly(
    arrays: Mapping[str, pa.Array], inputs: Mapping[str, TensorSpec], count: int
) -> tuple[Rows, np.ndarray, dict[int, str]]:
    """What `to_rows` gives where some row is bad, or rows do not go together."""
    bad: dict[int, str] = {}
    for name, array in arrays.items():
        _find_bad(name, array, inputs[name], 0, bad)
    good = np.setdiff1d(np.arange(count), np.fromiter(bad, np.int64, len(bad)), assume_unique=True)
    groups = _groups([_picked(array, good, bad) for array in arrays.values()], [inputs[name] for name in arrays])
    if len(groups) > 1:
        chosen = max(groups, key=len)
        for index in np.setdiff1d(np.arange(len(good)), chosen):
            bad[int(good[index])] = "the row's lists have other lengths than those of most rows with it"
        good = good[chosen]
    rows = {name: _array(_picked(array, good, bad), inputs[name]) for name, array in arrays.items()}
    return rows, good, dict(sorted(bad.items()))


def _hint(name: str, names: Any) -> str:
    near = nearest(name, names)
    return f"; did you mean {near!r}?" if near else f"; there are {', '.join(names) or 'none'}"


def _wide(spec: TensorSpec) -> pa.DataType:
    kind = spec.datatype.dtype.kind
    wide = pa.binary() if spec.datatype is Datatype.BYTES else _WIDE.get(kind, pa.float64())
    for _ in spec.shape[1:]:
        wide = pa.list_(wide)
    return wide


_WIDE = {"b": pa.bool_(), "i": pa.int64(), "u": pa.uint64()}


def _never(type: pa.DataType, spec: TensorSpec) -> str | None:
    """Why no value of a column of this type can fit, and the remedy."""
    type, sizes = levels(type)
    rank = len(spec.shape) - 1
    flat = prod(spec.shape[1:]) if -1 not in spec.shape[1:] else None
    if len(sizes) != rank and not (flat is not None and (len(sizes) == 1 or (not sizes and flat == 1))):
        return f"{_depth(len(sizes))} can never become {spec}, {_depth(rank)}"
    fixed = prod(sizes) if -1 not in sizes else None
    if len(sizes) != rank and fixed not in (None, flat):
        return f"lists of {fixed} can never become {spec}, which has {flat} elements a row"
    if len(sizes) == rank and any(
        -1 not in pair and pair[0] != pair[1] for pair in zip(sizes, spec.shape[1:], strict=True)
    ):
        return f"a row of shape {list(sizes)} can never become {spec}"
    if not may_become(type, spec.datatype):
        remedy = "turn its values into numbers first" if spec.datatype is not Datatype.BYTES else "write it as text"
        return _NEVER.format(type=type, spec=spec) + f"; {remedy}, or name another column"
    return None


def _depth(rank: int) -> str:
    return ("one value a row", "a list a row")[rank] if rank < 2 else f"lists in lists ({rank} deep) a row"


def _picked(array: pa.Array, good: np.ndarray, bad: Mapping[int, str]) -> pa.Array:
    return array.take(pa.array(good)) if bad or len(good) < len(array) else array


def _find_bad(name: str, array: pa.Array, spec: TensorSpec, start: int, bad: dict[int, str]) -> None:
    """Find the rows that do not fit by halves, so that nearly all of the work is done on arrays."""
    try:
        _array(array, spec, alone=len(array) > 1)
    except _Misfit as error:
        if len(array) == 1:
            bad.setdefault(start, f"input '{name}': {error}")
            return
        half = len(array) // 2
        _find_bad(name, array.slice(0, half), spec, start, bad)
        _find_bad(name, array.slice(half), spec, start + half, bad)


def _array(array: pa.Array, spec: TensorSpec, alone: bool = False) -> np.ndarray:
    """All rows as one array. Raises _Misfit if any row does not fit.

    Args:
        alone: rows need not have the same sizes in dimensions of any size; then the result is of no use.
    """
    sizes: list[int] = []
    values = array
    ragged = False
    rank = len(spec.shape) - 1
    while True:
        if values.null_count:
            raise _Misfit("the value is null" if not sizes else "a list holds a null")
        if not is_list(values.type):
            break
        lengths = _lengths(values)
        size = int(lengths[0]) if len(lengths) else 0
        if (lengths != size).any():
            free = len(sizes) < rank and spec.shape[1 + len(sizes)] == -1
            if not (alone and free):
                raise _Misfit(_uneven(sizes, lengths))
            ragged = True
        sizes.append(size)
        values = values.flatten()
    if ragged:
        return _ragged(array, values, spec)
    if len(array):
        _check_sizes(sizes, spec)
    shape = (len(array), *(sizes if len(sizes) == rank else spec.shape[1:]))
    if not len(array):
        shape = (0, *(max(size, 0) for size in spec.shape[1:]))
    return _elements(values, spec).reshape(shape)


def _ragged(array: pa.Array, values: pa.Array, spec: TensorSpec) -> np.ndarray:
    """Rows of several sizes: each must fit by itself."""
    if len(spec.shape) > 2 or not len(array) or (_lengths(array) == 0).any():
        raise _Misfit("the rows are looked at one by one")
    return _elements(values, spec)


def _lengths(lists: pa.Array) -> np.ndarray:
    if arrow_types.is_fixed_size_list(lists.type):
        return np.full(len(lists), lists.type.list_size)
    return np.diff(lists.offsets.to_numpy())


def _uneven(sizes: Sequence[int], lengths: np.ndarray) -> str:
    return (
        f"its lists have {int(lengths.min())} to {int(lengths.max())} elements at level {len(sizes) + 1}: it is ragged"
    )


def _check_sizes(sizes: Sequence[int], spec: TensorSpec) -> None:
    expected = spec.shape[1:]
    if len(sizes) == len(expected) and all(
        size == fixed or (fixed == -1 and size) for size, fixed in zip(sizes, expected, strict=True)
    ):
        return
    if len(sizes) <= 1 and -1 not in expected and prod(sizes) == prod(expected):
        return
    raise _Misfit(f"a row of shape {list(sizes)} where {spec} takes {list(expected)}")


def _elements(values: pa.Array, spec: TensorSpec) -> np.ndarray:
    """The elements, flat, in the input's dtype and within its limits."""
    if not may_become(values.type, spec.datatype):
        raise _Misfit(f"{values.type} is not {spec.datatype}")
    if spec.datatype is Datatype.BYTES:
        return _bytes(values)
    elements = _numbers(values, spec.datatype)
    for limit, outside in (("minimum", np.less), ("maximum", np.greater)):
        bound = getattr(spec, limit)
        if bound is not None and (wrong := outside(elements, bound) | (elements != elements)).any():
            raise _Misfit(f"{elements[wrong][0]} is outside of the input's {limit} of {bound:g}")
    return elements


def _bytes(values: pa.Array) -> np.ndarray:
    elements = np.empty(len(values), object)
    elements[:] = values.cast(pa.large_binary()).to_pylist()
    return elements


def _numbers(values: pa.Array, datatype: Datatype) -> np.ndarray:
    if arrow_types.is_decimal(values.type):
        values = _decimals(values, datatype)
    source = values.to_numpy(zero_copy_only=False)
    dtype = datatype.dtype
    if source.dtype == dtype:
        return np.asarray(source)
    if datatype is Datatype.BOOL:
        _refuse((source != 0) & (source != 1), source, datatype)
        return np.asarray(source == 1)
    if dtype.kind in "iu":
        return _integers(source, datatype)
    with np.errstate(over="ignore"):
        elements = source.astype(dtype)
    _refuse(np.isinf(elements) & np.isfinite(source), source, datatype)
    return np.asarray(elements)


def _integers(source: np.ndarray, datatype: Datatype) -> np.ndarray:
    limits = np.iinfo(datatype.dtype)
    if source.dtype.kind == "f":
        source = source.astype(np.float64)
        # 2.0**63 is the first float beyond INT64; `limits.max` itself is none.
        fits = (source >= float(limits.min)) & (source < float(limits.max + 1)) & (np.floor(source) == source)
        _refuse(~fits, source, datatype)
    elif len(source) and (int(source.min()) < limits.min or int(source.max()) > limits.max):
        low = source < limits.min if source.dtype.kind == "i" and limits.min > np.iinfo(source.dtype).min else False
        high = source > limits.max if limits.max < np.iinfo(source.dtype).max else False
        _refuse(np.broadcast_to(low | high, source.shape), source, datatype)
    return np.asarray(source.astype(datatype.dtype))


def _decimals(values: pa.Array, datatype: Datatype) -> pa.Array:
    if datatype.dtype.kind not in "iu":
        return values.cast(pa.float64())
    try:
        return values.cast(pa.uint64() if datatype.dtype.kind == "u" else pa.int64())
    except pa.ArrowInvalid:
        raise _Misfit(_takes(str(values[0].as_py()), datatype)) from None


def _refuse(wrong: np.ndarray, source: np.ndarray, datatype: Datatype) -> None:
    if wrong.any():
        raise _Misfit(_takes(shown(source[wrong.argmax()].item()), datatype))


def _takes(found: str, datatype: Datatype) -> str:
    if datatype is Datatype.BOOL:
        return f"{found}; BOOL takes true, false, 1 and 0"
    if datatype.dtype.kind not in "iu":
        return f"{found}; {datatype} takes numbers within its range"
    limits = np.iinfo(datatype.dtype)
    return f"{found}; {datatype} takes whole numbers from {limits.min} to {limits.max}"


def _groups(arrays: Sequence[pa.Array], specs: Sequence[TensorSpec], count: int | None = None) -> list[np.ndarray]:
    """Indices of the rows whose lists have the same sizes in the dimensions of any size."""
    total = len(arrays[0]) if arrays else count or 0
    free = [array for array, spec in zip(arrays, specs, strict=True) if -1 in spec.shape[1:]]
    keys = [_sizes(array) for array in free]
    if all((key == key[:1]).all() for key in keys):
        return [np.arange(total)]
    _, group = np.unique(np.concatenate(keys, axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    return list(np.split(order, np.flatnonzero(np.diff(group[order])) + 1))


def _sizes(array: pa.Array) -> np.ndarray:
    """Size of each row in each level of lists, [rows, levels]; of deeper levels that of the row's first list."""
    if not is_list(array.type):
        return np.zeros((len(array), 0), np.int64)
    outer = np.where(array.is_valid().to_numpy(zero_copy_only=False), _lengths(array), 0)
    inner = _sizes(array.flatten())
    first = np.cumsum(outer) - outer
    deeper = np.zeros((len(array), inner.shape[1]), np.int64)
    some = outer > 0
    deeper[some] = inner[first[some]]
    return np.concatenate([outer[:, None], deeper], axis=1)
