"""Decide which case of a switch each row goes to."""

from collections.abc import Sequence

import numpy as np


def confidence(scores: np.ndarray, threshold: float) -> np.ndarray:
    """The built-in predicate: `confident` where a row's largest score is at least `threshold`, else `rest`.

    Args:
        scores: numbers [rows, ...]; a row with a NaN goes to `rest`.
        threshold: compared in the scores' own precision, so that an FP32 score of 0.9 reaches 0.9.

    Returns:
        Case names (`str`) in an object array [rows].
    """
    largest = scores.max(axis=tuple(range(1, scores.ndim)))
    return np.where(largest >= threshold, "confident", "rest").astype(object)


def by_found(found: np.ndarray) -> np.ndarray:
    """The predicate that a lookup's `otherwise` becomes: BOOL [rows], true where the table has the row's key."""
    return found


def case_codes(decision: np.ndarray | Sequence[object], cases: Sequence[str], rows: int) -> np.ndarray:
    """Turn a predicate's answer into the index in `cases` of each row's case.

    Args:
        decision: one bool a row (cases `true` and `false`) or one case name a row (`str`, or UTF-8
            `bytes`); an array [rows] or [rows, 1], or a list.
        cases: the names of the switch's cases, in order.
        rows: how many rows the predicate was asked about.

    Returns:
        Indices, intp [rows].

    Raises:
        ValueError: not one answer a row, or an answer that is none of the cases.
    """
    answers = _flat(decision, rows)
    code_of = {case: code for code, case in enumerate(cases)}
    return np.fromiter((_code(row, answer, code_of) for row, answer in enumerate(answers)), dtype=np.intp, count=rows)


def _flat(decision: np.ndarray | Sequence[object], rows: int) -> list[object]:
    """The answers as a list of `rows` Python values."""
    if isinstance(decision, str | bytes) or not hasattr(decision, "__len__"):
        raise ValueError(f"the predicate gave {decision!r} for {rows} rows; it must give one bool or case name a row")
    if isinstance(decision, np.ndarray):
        if decision.ndim > 2 or decision.ndim == 0 or decision.shape[1:] not in ((), (1,)):
            raise ValueError(f"the predicate gave the shape {list(decision.shape)}; it must give [{rows}]")
        decision = decision.ravel().tolist()
    if len(decision) != rows:
        raise ValueError(f"the predicate gave {len(decision)} answers for {rows} rows; it must give one a row")
    return list(decision)


def _code(row: int, answer: object, code_of: dict[str, int]) -> int:
    if isinstance(answer, bool | np.bool_):
        name = "true" if answer else "false"
    elif isinstance(answer, bytes):
        name = answer.decode(errors="replace")
    elif isinstance(answer, str):
        name = answer
    else:
        raise ValueError(f"the predicate gave {answer!r} for row {row}; it must give a bool or a case name")
    code = code_of.get(name)
    if code is None:
        raise ValueError(f"the predicate gave {name!r} for row {row}, but the cases are {', '.join(code_of)}")
    return code
