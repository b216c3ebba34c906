"""A check of the data before it is scored: a user's pandera schema, seen a part at a time."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
from pyarrow import types as arrow_types

from configs.errors import ConfigError
from configs.problems import shown
from graphs.callables import import_callable
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
        """Those of a table's columns that are checked."""
        return [name for name in names if _column(self.path, name) is not None]

    def check_columns(self, schema: pa.Schema, name: str) -> None:
        """Raises ConfigError if a file has not the columns or types that are wanted; MissingExtra without pandera."""
        empty = {each: pa.chunked_array([], schema.field(each).type) for each in self.columns(schema.names)}
        frame = _frame(pa.table(empty), self.path)
        found = _validated(self.path, frame.reindex(columns=schema.names))  # strict schemas know of the others
        problems = [_first_line(error) for error in found if error.reason_code.name in _OF_COLUMNS]
        if problems:
            raise ConfigError(f"{name} does not pass --check {self.path}: {'; '.join(problems)}{_remedy(found)}")

    def __call__(self, table: pa.Table, without: Iterable[int] = ()) -> dict[int, str]:
        """Index of each bad row → why.

        Args:
            without: rows that are not looked at.

        Raises:
            ConfigError: a check fails for a whole column, or itself.
        """
        whole = table.select(self.columns(table.column_names))
        skipped = set(without)
        bad = {row: why for row, why in _nulls(whole, self.path).items() if row not in skipped}
        frame = _frame(whole, self.path).drop(index=sorted(skipped | set(bad)))
        while found := _validated(self.path, frame):
            misfits = [error for error in found if error.reason_code.name == "DATATYPE_COERCION"]
            failed = _rows_of(misfits or found, self.path)
            bad |= failed
            if not misfits:
                break
            frame = frame.drop(index=list(failed))  # others were not looked at for what these are
        return bad


@lru_cache(maxsize=4)
def _schema(path: str) -> Any:
    """The schema that stands behind a path. Raises ConfigError, MissingExtra."""
    pandera = require("pandera.pandas", "pandera")
    found = import_callable(path).target
    if isinstance(found, type) and issubclass(found, pandera.DataFrameModel):
        found = found.to_schema()  # type: ignore[attr-defined]  # pandera's classes are not known here
    if isinstance(found, pandera.DataFrameSchema):
        return found
    raise ConfigError(f"--check {path}: it is no DataFrameModel or DataFrameSchema of pandera.pandas; write one")


@lru_cache(maxsize=1024)
def _column(path: str, name: str) -> Any:
    """What the schema says of a column; None if nothing."""
    columns = _schema(path).columns
    patterns = [column for pattern, column in columns.items() if column.regex and re.match(pattern, name)]
    return columns.get(name) or next(iter(patterns), None)


def _validated(path: str, frame: Any) -> Sequence[Any]:
    """Pandera's errors, all of them."""
    errors = require("pandera.errors", "pandera")
    try:
        _schema(path).validate(frame, lazy=True)
    except errors.SchemaErrors as error:
        return list(error.schema_errors)
    return ()


def _frame(table: pa.Table, path: str) -> Any:
    """The table as pandas has it, with rows' places as index. Nulls that `_nulls` finds are some number."""
    pandas = require("pandas", "pandera")
    columns = {name: _series(name, _plain(table[name]), path) for name in table.column_names}
    return pandas.DataFrame(columns, index=pandas.RangeIndex(table.num_rows))


def _series(name: str, column: pa.ChunkedArray, path: str) -> Any:
    type = _pandas_type(name, path)
    masked = {pa.from_numpy_dtype(type.numpy_dtype): type} if _is_masked(type) else {}
    if not masked and type is not None and _is_whole(column.type):
        column = column.fill_null(pa.scalar(0).cast(column.type))
    return pa.table({name: column}).to_pandas(types_mapper=masked.get)[name]


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tensors as the lists that they lie in."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _nulls(table: pa.Table, path: str) -> dict[int, str]:
    """Rows with a null in a column whose whole numbers pandas would turn into floats for it."""
    bad: dict[int, str] = {}
    for name in table.column_names:
        column, type = table[name], _pandas_type(name, path)
        if column.null_count and _is_whole(column.type) and type is not None and not _is_masked(type):
            rows = column.is_null().to_numpy().nonzero()[0]
            bad |= {int(row): f"column {name!r}: null, which {type} has no place for" for row in rows}
    return bad


def _is_whole(type: pa.DataType) -> bool:
    return bool(arrow_types.is_integer(type) or arrow_types.is_boolean(type))


def _pandas_type(name: str, path: str) -> Any:
    return getattr(_column(path, name).dtype, "type", None)


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
    if not hasattr(error.schema, "dtype") or error.schema.__class__.__name__ == "DataFrameSchema":
        return str(check)
    return f"column {error.schema.name!r}: {check}: {shown(getattr(value, 'tolist', lambda: value)())}"


def _first_line(error: Any) -> str:
    return str(error).splitlines()[0]


def _remedy(errors: Sequence[Any]) -> str:
    if any(error.reason_code.name == "WRONG_DATATYPE" for error in errors):
        return "; what is text in a file is taken for numbers with `coerce = True` in the schema's Config"
    return ""
