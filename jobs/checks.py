"""A check of the data before it is scored: a user's pandera schema, seen a part at a time."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import types as arrow_types

from configs.errors import ConfigError
from configs.problems import shown
from graphs.callables import import_callable
from jobs.coercion import coerced
from servables.extras import require

CHECK = "check"
"""The stage's name, in reports and errors."""

_OF_COLUMNS = frozenset(
    ["COLUMN_NOT_IN_DATAFRAME", "WRONG_DATATYPE", "COLUMN_NOT_IN_SCHEMA", "COLUMN_NOT_ORDERED", "INVALID_COLUMN_NAME"]
)
"""Pandera's reasons that a table without rows can have, too."""
_NAMED = 5
"""Failed checks that the reason of one row tells."""


@dataclass(frozen=True)
class Check:
    """A pandera DataFrameModel or DataFrameSchema, named `module:Name`. It says which rows are bad and changes none.

    Each part is looked at by itself: `unique`, and what counts or averages, holds within a part.
    """

    path: str

    def columns(self, names: Sequence[str]) -> list[str]:
        """Those of a table's columns that are checked, in the schema's order."""
        columns = _schema(self.path).columns.items()
        return list(dict.fromkeys(name for key, column in columns for name in names if _is(key, column, name)))

    def check_columns(self, schema: pa.Schema, name: str) -> None:
        """Raises ConfigError if a file has not the columns or types that are wanted; MissingExtra without pandera."""
        empty = pa.table({each: pa.chunked_array([], schema.field(each).type) for each in self.columns(schema.names)})
        _check_unique(empty, self.path)
        frame = _frame(empty, self.path)
        found = _validated(self.path, frame.reindex(columns=schema.names))  # strict schemas know of the others
        problems = [_first_line(error) for error in found if error.reason_code.name in _OF_COLUMNS]
        if problems:
            raise ConfigError(f"{name} does not pass --check {self.path}: {'; '.join(problems)}{_remedy(found)}")

    def __call__(self, table: pa.Table, without: Iterable[int] = ()) -> dict[int, str]:
        """Index of each bad row → why.

        Args:
            without: rows that are not looked at.

        Raises:
            ConfigError: a check fails for a whole column, or raises an exception that is no row's.
        """
        whole = table.select(self.columns(table.column_names))
        skipped = set(without)
        bad = {row: why for row, why in _nulls(whole, self.path).items() if row not in skipped}
        frame = _frame(whole, self.path).drop(index=sorted(skipped | set(bad)))
        frame, misfits = _coerced(frame, self.path)
        bad |= misfits
        final = False
        while not final:
            failed, final = self._round(frame)
            bad |= failed
            frame = frame.drop(index=list(failed))
        return bad

    def _round(self, frame: Any) -> tuple[dict[int, str], bool]:
        """Rows that fail → why, and whether the others have been looked at for all that the schema says."""
        found = _validated(self.path, frame)
        misfits = [error for error in found if error.reason_code.name == "DATATYPE_COERCION"]
        if not misfits and (failed := self._raising(found, frame)):
            return failed, False
        return _rows_of(misfits or found, self.path), not misfits

    def _raising(self, found: Iterable[Any], frame: Any) -> dict[int, str]:
        """Rows that a check raises an exception for → which; none if it does so without any row, too."""
        raised = list(filter(_is_raised, found))
        if not raised or _is_changed(self.path) or any(map(_is_raised, _validated(self.path, frame.iloc[:0]))):
            return {}
        bad: dict[int, str] = {}
        for error in raised:
            column = (error.schema.name,) if _is_of_column(error) else ()
            for row, why in _alone(error.check, column, frame).items():
                bad.setdefault(row, f"{_reason(error, frame[column[0]][row] if column else None)}: {why}")
        return bad


@lru_cache(maxsize=4)
def _schema(path: str) -> Any:
    """The schema that stands behind a path. Raises ConfigError, MissingExtra."""
    pandera = require("pandera.pandas", "pandera")
    found = import_callable(path).target
    if isinstance(found, type) and issubclass(found, pandera.DataFrameModel):
        found = found.to_schema()  # type: ignore[attr-defined]  # pandera's classes are not known here
    if not isinstance(found, pandera.DataFrameSchema):
        raise ConfigError(f"--check {path}: it is no DataFrameModel or DataFrameSchema of pandera.pandas; write one")
    parts = [found, *found.columns.values()]
    if any(part.drop_invalid_rows or any(check.n_failure_cases for check in part.checks) for part in parts):
        raise ConfigError(
            f"--check {path}: bad rows pass with `drop_invalid_rows` or `n_failure_cases`; leave them out"
        )
    return found


@lru_cache(maxsize=1024)
def _column(path: str, name: str) -> Any:
    """What the schema says of a column; None if nothing."""
    columns = _schema(path).columns
    return columns.get(name) or next((column for key, column in columns.items() if _is(key, column, name)), None)


def _is(key: str, column: Any, name: str) -> bool:
    """Whether a column of the schema is about a column of a table."""
    return bool(re.match(key, name)) if column.regex else key == name


@lru_cache(maxsize=1024)
def _coercion(path: str, name: str) -> Any:
    """The type that a column is taken for; None: it is looked at as it is, or pandera alone knows what comes before."""
    column = _column(path, name)
    return column.dtype if (_schema(path).coerce or column.coerce) and not _is_changed(path) else None


def _is_changed(path: str) -> bool:
    """Whether checks see other values than columns' types tell."""
    schema = _schema(path)
    return schema.dtype is not None or any(part.parsers for part in (schema, *schema.columns.values()))


def _coerced(frame: Any, path: str) -> tuple[Any, dict[int, str]]:
    """The frame of rows whose values are all of their columns' types, and why others are none."""
    columns: dict[str, Any] = {}
    bad: dict[int, str] = {}
    for name in frame.columns:
        if (dtype := _coercion(path, name)) is not None:
            columns[name], misfits = coerced(frame[name], dtype)
            cells = ((row, frame[name][row]) for row in misfits if row not in bad)
            bad |= {int(row): _of_column(name, f"coerce_dtype('{dtype}')", cell) for row, cell in cells}
    rest = frame.drop(index=list(bad))
    return rest.assign(**{name: values.reindex(rest.index) for name, values in columns.items()}), bad


def _check_unique(table: pa.Table, path: str) -> None:
    """Raises ConfigError for lists that are to be different."""
    names = {name for name in table.column_names if _column(path, name).unique} | {*(_schema(path).unique or ())}
    for name in table.column_names:
        if name in names and arrow_types.is_nested(_plain(table[name]).type) and _coercion(path, name) is None:
            raise ConfigError(
                f"--check {path}: column {name!r} holds lists, which `unique` cannot tell apart; leave it out"
            )


def _validated(path: str, frame: Any) -> Sequence[Any]:
    """Pandera's errors, all of them."""
    errors = require("pandera.errors", "pandera")
    try:
        _schema(path).validate(frame, lazy=True)
    except errors.SchemaErrors as error:
        return list(error.schema_errors)
    return ()


def _is_raised(error: Any) -> bool:
    """Whether a check ended with an exception."""
    return bool(error.reason_code.name == "CHECK_ERROR")


def _alone(check: Any, column: tuple[str, ...], frame: Any) -> dict[int, str]:
    """Rows for which a check raises an exception, by halves, and the exception. There are rows."""
    try:
        check(frame, *column)
    except Exception as error:  # noqa: BLE001 - a user's code
        if len(frame) == 1:
            return {int(frame.index[0]): repr(error)}
        half = len(frame) // 2
        return _alone(check, column, frame.iloc[:half]) | _alone(check, column, frame.iloc[half:])
    return {}


def _frame(table: pa.Table, path: str) -> Any:
    """The table as pandas has it, with rows' places as index. Nulls that `_nulls` finds are some number."""
    pandas = require("pandas", "pandera")
    columns = {name: _series(name, _plain(table[name]), path) for name in table.column_names}
    return pandas.DataFrame(columns, index=pandas.RangeIndex(table.num_rows))


def _series(name: str, column: pa.ChunkedArray, path: str) -> Any:
    type = _pandas_type(name, path)
    masked = {pa.from_numpy_dtype(type.numpy_dtype): type} if _is_masked(type) else {}
    if _is_whole(column.type) and _refuses_nulls(name, column, path):
        column = column.fill_null(pa.scalar(0).cast(column.type))
    floats = type is None or getattr(type, "kind", "") == "f"
    return pa.table({name: column}).to_pandas(types_mapper=masked.get, integer_object_nulls=not floats)[name]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tensors as the lists that they lie in."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _nulls(table: pa.Table, path: str) -> dict[int, str]:
    """Rows with a null in a column that is to hold whole numbers or truth values, which pandas has none for."""
    bad: dict[int, str] = {}
    for name in table.column_names:
        column = table[name]
        if column.null_count and _refuses_nulls(name, column, path):
            rows = column.is_null().to_numpy().nonzero()[0]
            why = f"column {name!r}: null, which {_pandas_type(name, path)} has no place for"
            bad |= dict.fromkeys(map(int, rows), why)
    return bad


def _is_whole(type: pa.DataType) -> bool:
    return bool(arrow_types.is_integer(type) or arrow_types.is_boolean(type))


def _pandas_type(name: str, path: str) -> Any:
    return getattr(_column(path, name).dtype, "type", None)


def _refuses_nulls(name: str, column: pa.ChunkedArray, path: str) -> bool:
    type = _pandas_type(name, path)
    if not isinstance(type, np.dtype) or type.kind not in "iub":
        return False
    return _is_whole(column.type) if _coercion(path, name) is None else _column(path, name).default is None


def _is_masked(type: Any) -> bool:
    """Whether it is a type of pandas' own that has nulls, as Int64."""
    return hasattr(type, "numpy_dtype") and hasattr(type, "na_value")


def _rows_of(errors: Sequence[Any], path: str) -> dict[int, str]:
    """Row → the checks that it fails. Raises ConfigError for what is no single row's."""
    reasons: dict[int, list[str]] = {}
    for error in errors:
        cases = error.failure_cases
        if error.reason_code.name == "WRONG_DATATYPE" or "index" not in getattr(cases, "columns", ()):
            raise ConfigError(f"--check {path} fails for whole columns: {_first_line(error)}{_remedy(errors)}")
        for row, value in zip(cases["index"], cases["failure_case"], strict=True):
            why = reasons.setdefault(int(row), [])
            if (text := _reason(error, value)) not in why and len(why) < _NAMED:
                why.append(text)
    return {row: "; ".join(why) for row, why in reasons.items()}


def _reason(error: Any, value: Any) -> str:
    check = error.check if isinstance(error.check, str) else error.check.error or error.check.name
    return _of_column(error.schema.name, str(check), value) if _is_of_column(error) else str(check)


def _is_of_column(error: Any) -> bool:
    return hasattr(error.schema, "dtype") and error.schema.__class__.__name__ != "DataFrameSchema"


def _of_column(name: str, check: str, value: Any) -> str:
    found = getattr(value, "tolist", lambda: value)()
    return f"column {name!r}: {check}: {shown(str(found) if hasattr(found, 'isoformat') else found)}"


def _first_line(error: Any) -> str:
    return str(error).splitlines()[0]


def _remedy(errors: Sequence[Any]) -> str:
    if any(error.reason_code.name == "WRONG_DATATYPE" for error in errors):
        return "; what is text in a file is taken for numbers with `coerce = True` in the schema's Config"
    return ""
