"""Switches: the confidence predicate, and predicates' answers made into case indices."""

from typing import Any

import numpy as np
import pytest

from graphs.switches import case_codes, confidence


def test_confidence_compares_the_largest_score_with_the_threshold() -> None:
    scores = np.array([[0.05, 0.95], [0.5, 0.5], [0.9, 0.1], [np.nan, 1.0]], np.float32)
    assert confidence(scores, 0.9).tolist() == ["confident", "rest", "confident", "rest"]


def test_confidence_takes_one_score_a_row() -> None:
    assert confidence(np.array([0.2, 0.8]), 0.5).tolist() == ["rest", "confident"]


@pytest.mark.parametrize(
    ("decision", "cases", "codes"),
    [
        (np.array([True, False]), ["false", "true"], [1, 0]),
        ([False, np.True_], ["true", "false"], [1, 0]),
        (np.array([[True], [False]]), ["true", "false"], [0, 1]),
        (np.array(["b", "a"], dtype=object), ["a", "b"], [1, 0]),
        (np.array(["b", "a"]), ["a", "b"], [1, 0]),
        (np.array([b"b", b"b"], dtype=object), ["a", "b"], [1, 1]),
        (["a", "b"], ["a", "b"], [0, 1]),
    ],
)
def test_answers_become_indices_of_cases(decision: Any, cases: list[str], codes: list[int]) -> None:
    found = case_codes(decision, cases, rows=2)
    assert found.dtype == np.intp
    assert found.tolist() == codes


def test_confidence_names_the_cases_of_a_confidence_switch() -> None:
    decision = confidence(np.array([[0.95], [0.1]], np.float32), 0.9)
    assert case_codes(decision, ["confident", "rest"], rows=2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (["small", "huge"], "'huge' for row 1, but the cases are small, large"),
        ([True, False], "'true' for row 0, but the cases are small, large"),
        (["small"], "1 answers for 2 rows"),
        ("small", "'small' for 2 rows"),
        (True, "True for 2 rows"),
        (None, "None for 2 rows"),
        ([1, 0], "1 for row 0; it must give a bool or a case name"),
        (np.ones((2, 3), bool), r"shape \[2, 3\]; it must give \[2\]"),
    ],
)
def test_answers_that_are_no_cases_are_refused(decision: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        case_codes(decision, ["small", "large"], rows=2)
