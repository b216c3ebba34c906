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
        ({"x": [[1, 2]], "n": [10**30]}, "warmup.json: n: "),
    ],
)
def test_what_does_not_fit_is_the_versions_fault(tmp_path: Path, content: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        warmup_rows(given(tmp_path, content), NUMBERS)


def test_sizes_go_up_to_the_largest() -> None:
    assert [batch_sizes(rows) for rows in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
