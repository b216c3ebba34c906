"""What a model is called with before any request is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import ModelError
from configs.tensors import Signature
from servables.samples import batch_sizes, repeated, warmup_rows

NUMBERS = Signature(inputs={"x": "FP32[-1, 2]", "n": "INT64[-1]"})  # type: ignore[dict-item]
TEXTS = Signature(inputs={"text": "BYTES[-1]"})  # type: ignore[dict-item]


def given(folder: Path, content: Any) -> Path:
    (folder / "warmup.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_zeros_where_nothing_is_given_and_nothing_where_zeros_mean_nothing(tmp_path: Path) -> None:
    rows = warmup_rows(tmp_path, NUMBERS)
    assert rows is not None
    assert {name: (array.shape, array.dtype.name) for name, array in rows.items()} == {
        "x": ((1, 2), "float32"),
        "n": ((1,), "int64"),
    }
    assert warmup_rows(tmp_path, TEXTS) is None
    assert warmup_rows(tmp_path, Signature(inputs={"x": "FP32[-1, -1]"})) is None  # type: ignore[dict-item]
    assert warmup_rows(tmp_path, Signature()) is None


def test_given_rows_have_the_models_datatypes(tmp_path: Path) -> None:
    rows = warmup_rows(given(tmp_path, {"x": [[1, 2], [3, 4.5]], "n": [7, 8]}), NUMBERS)
    assert rows is not None
    assert rows["x"].dtype == np.float32
    np.testing.assert_array_equal(repeated(rows, 5)["n"], [7, 8, 7, 8, 7])
    assert repeated(rows, 1)["x"].tolist() == [[1, 2]]
    texts = warmup_rows(given(tmp_path, {"text": ["größer", {"b64": "AAE="}]}), TEXTS)
    assert texts is not None
    assert texts["text"].tolist() == ["größer".encode(), b"\0\1"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not readable JSON"),
        ([1], "gives a list; give rows for x, n"),
        ({"x": [[1, 2]]}, "gives x; give rows for x, n"),
        ({"x": [[1, 2]], "n": [1, 2]}, "the same number of rows"),
        ({"x": [], "n": []}, "x has shape"),
        ({"x": [[1, 2, 3]], "n": [1]}, r"x has shape \[1, 3\], but the model takes FP32"),
        ({"x": [["a", "b"]], "n": [1]}, "warmup.json: x: "),
        ({"x": [[1, 2]], "n": [1.5]}, "warmup.json: n: "),
        ({"x": [[1, 2], [3]], "n": [1, 2]}, "warmup.json: x: "),
        ({"x": [[1, 2]], "n": [1e400]}, "warmup.json: n: "),
        ({"x": [[1, 2]], "n": [10**30]}, r"n: 10+ is no INT64: those go from -9223372036854775808 to 9"),
        ({"x": [[1, None]], "n": [1]}, "x: None is no FP32"),
        ({"x": [[1, 1e39]], "n": [1]}, r"x: 1e\+39 is no FP32: those go from -3.402\d+e\+38 to 3.4"),
        ({"x": [[1, 10**400]], "n": [1]}, "warmup.json: x: "),
        ({"x": [[1, 2]], "n": [2**63]}, "is no INT64"),
        ("[" * 100_000, "not readable JSON"),
        ('{"n": [1], "x": ' + "[" * 700 + "]" * 700 + "}", "warmup.json: "),
    ],
)
def test_what_does_not_fit_is_the_versions_fault(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        warmup_rows(given(tmp_path, content), NUMBERS)


@pytest.mark.parametrize(
    ("datatype", "fits", "not_these"),
    [
        ("BOOL", [True, False], [1]),
        ("UINT8", [0, 255], [-1, 256]),
        ("INT8", [-128, 127], [300, 1.0]),
        ("UINT64", [1, 2**64 - 1], [-1, 2**64]),
        ("INT64", [-(2**63), 2**63 - 1], [2**63]),
        ("FP16", [1, -65504.0], [1e9]),
        ("BF16", [1, 3e38], [3.4e38, "1"]),
        ("FP64", [1, 1e308], [10**309]),
        ("BYTES", ["a"], [1]),
    ],
)
def test_numbers_are_those_that_the_datatype_holds(
    tmp_path: Path, datatype: str, fits: list[Any], not_these: list[Any]
) -> None:
    signature = Signature(inputs={"x": f"{datatype}[-1]"})  # type: ignore[dict-item]
    rows = warmup_rows(given(tmp_path, {"x": fits}), signature)
    assert rows is not None
    spec = (signature.inputs or {})["x"]
    assert rows["x"].dtype == spec.datatype.dtype
    assert datatype in ("BF16", "BYTES") or rows["x"].tolist() == fits
    for value in not_these:
        with pytest.raises(ModelError, match=r"warmup.json: x: "):
            warmup_rows(given(tmp_path, {"x": [fits[0], value]}), signature)


def test_what_is_no_number_may_be_meant(tmp_path: Path) -> None:
    rows = warmup_rows(given(tmp_path, '{"x": [NaN, -Infinity]}'), Signature(inputs={"x": "FP16[-1]"}))  # type: ignore[dict-item]
    assert rows is not None
    np.testing.assert_array_equal(rows["x"], np.array([np.nan, -np.inf], np.float16))


def test_sizes_go_up_to_the_largest() -> None:
    assert [batch_sizes(rows) for rows in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
