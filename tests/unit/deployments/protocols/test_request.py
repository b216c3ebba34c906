import re

import numpy as np
import pytest

from configs.errors import InvalidInput
from deployments.protocols.request import check_rows, shown
from tests.unit.deployments.protocols.samples import asking, signature

INPUTS = signature(
    image={"datatype": "UINT8", "shape": [-1, 2], "minimum": 0, "maximum": 16},
    t={"datatype": "FP32", "shape": [-1], "minimum": -1},
).inputs


def rows(**change: np.ndarray) -> dict[str, np.ndarray]:
    good = {"image": np.array([[0, 16], [1, 2]], np.uint8), "t": np.array([-1, 5], np.float32)}
    return {**good, **change}


def test_counts_the_rows() -> None:
    assert check_rows(rows(), INPUTS) == 2
    assert asking(rows=rows()).row_count == 2


def test_one_number_for_all_rows_is_repeated() -> None:
    inputs = signature(t="FP32[-1, 2]", k="INT32[1]").inputs
    sent = {"k": np.array([7], np.int32), "t": np.zeros((3, 2), np.float32)}
    assert check_rows(sent, inputs) == 3
    assert sent["k"].tolist() == [7, 7, 7]
    with pytest.raises(InvalidInput, match=re.escape("input 'k' has shape [2], expected [1]")):
        check_rows({**sent, "k": np.array([7, 8], np.int32)}, inputs)
    alone = {"k": np.array([7], np.int32)}
    assert check_rows(alone, signature(k="INT32[1]").inputs) == 1
    assert alone["k"].tolist() == [7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imgae": np.zeros(2)}, "unknown input 'imgae'; the graph takes image (UINT8[-1, 2]), t (FP32[-1])"),
        ({"t": np.zeros(2)}, "input 't' has datatype 'FP64', expected FP32"),
        ({"t": np.zeros(2, complex)}, "input 't': no v2 datatype for NumPy dtype complex128; expected FP32"),
        ({"image": np.zeros(2, np.uint8)}, "input 'image' has shape [2], expected [-1, 2]"),
        ({"image": np.zeros((2, 3), np.uint8)}, "input 'image' has shape [2, 3], expected [-1, 2]"),
        ({"t": np.float32(1)}, "input 't' has shape [], expected [-1]"),
        ({"t": np.zeros(0, np.float32)}, "input 't' has shape [0]: zero rows; send at least one row"),
        ({"t": np.zeros(3, np.float32)}, "inputs have different numbers of rows (image 2, t 3); all need the same"),
        (
            {"image": np.array([[0, 1], [2, 17]], np.uint8)},
            "'image' holds 17 at [1, 1]; the largest value accepted is 16",
        ),
        ({"t": np.array([0, -1.5], np.float32)}, "'t' holds -1.5 at [1]; the smallest value accepted is -1"),
        ({"t": np.array([np.nan, 0], np.float32)}, "'t' holds nan at [0]; the smallest value accepted is -1"),
    ],
)
def test_says_what_does_not_fit(change: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        check_rows(rows(**change), INPUTS)


def test_no_dimension_is_empty() -> None:
    with pytest.raises(InvalidInput, match=re.escape("input 'x' has shape [9, 0]: each dimension needs at least 1")):
        check_rows({"x": np.zeros((9, 0), bool)}, signature(x="BOOL[-1, -1]").inputs or {})


def test_names_what_is_missing() -> None:
    with pytest.raises(InvalidInput, match=re.escape("missing input 't'; the graph takes image (UINT8[-1, 2]), t")):
        check_rows({"image": rows()["image"]}, INPUTS)


def test_messages_stay_short() -> None:
    assert len(shown("x" * 10_000)) < 100
    assert len(shown([[10**300] * 1000] * 1000)) < 300
