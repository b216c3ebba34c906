"""Values taken for the type that a schema says; those that are none of it are found by halves, whatever pandas says."""

from typing import Any

from servables.extras import require

_TRUTHS = {True: True, "true": True, "1": True, "yes": True, False: False, "false": False, "0": False, "no": False}
"""As in CSV files. True and False stand for 1 and 0, too."""


def coerced(values: Any, dtype: Any) -> tuple[Any, list[Any]]:
    """A pandas Series as a pandera type, without nulls and what is none of it; the index of each that is none.

    Each value may be written in a way of its own, as dates are.
    """
    pieces: list[Any] = []
    bad: list[Any] = []
    given = values.dropna()
    _by_halves(given, dtype, pieces, bad)
    return require("pandas", "pandera").concat(pieces) if pieces else given.iloc[:0], bad


def _by_halves(values: Any, dtype: Any, pieces: list[Any], bad: list[Any]) -> None:
    try:
        pieces.append(_whole(values, dtype))
    except Exception:  # noqa: BLE001 - each kind of value has errors of its own
        if len(values) < 2:
            bad.extend(values.index)
            return
        half = len(values) // 2
        _by_halves(values.iloc[:half], dtype, pieces, bad)
        _by_halves(values.iloc[half:], dtype, pieces, bad)


def _whole(values: Any, dtype: Any) -> Any:
    """Raises an exception if there is a value that is none of the type."""
    kind = getattr(getattr(dtype, "type", None), "kind", "")
    if kind == "b":  # pandas takes every text for true
        values = values.map(lambda value: _TRUTHS[value.strip().lower() if isinstance(value, str) else value])
    elif kind == "M" and values.dtype.kind == "O" and not getattr(dtype, "to_datetime_kwargs", None):
        # pandas wants all dates to be written as the first is
        values = require("pandas", "pandera").to_datetime(values, format="mixed")
    return dtype.coerce(values)
