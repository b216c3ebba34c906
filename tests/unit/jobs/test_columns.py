"""Columns to inputs: exact, fast where nothing is wrong, and every row that does not fit is named with its reason."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest

from configs.errors import ConfigError
from configs.tensors import TensorSpec
from jobs.columns import check, constants, same_shapes, to_rows, types


def spec(text: str, **limits: float) -> TensorSpec:
    return TensorSpec.model_validate(text).model_copy(update=limits)


def one(values: Any, text: str, **limits: float) -> tuple[np.ndarray, list[int], dict[int, str]]:
    """What becomes of a column."""
    inputs = {"x": spec(text, **limits)}
    table = pa.table({"x": values})
    check(table.schema, inputs, {})
    rows, good, bad = to_rows(table, inputs, {})
    assert rows["x"].dtype == inputs["x"].datatype.dtype
    assert len(rows["x"]) == len(good) == table.num_rows - len(bad)
    return rows["x"], good.tolist(), bad


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        (pa.array([1, 2], pa.uint8()), "INT64[-1]", [1, 2]),
        (pa.array([1.0, -2.0]), "INT8[-1]", [1, -2]),
        (pa.array([1, 2]), "FP32[-1]", [1, 2]),
        (pa.array([1.5, float("nan")]), "FP16[-1]", [1.5, np.nan]),
        (pa.array([1.5, 2], pa.float16()), "BF16[-1]", [1.5, 2]),
        (pa.array([Decimal("1.50"), Decimal("2.00")]), "FP64[-1]", [1.5, 2]),
        (pa.array([Decimal("1.00"), Decimal("2.00")]), "UINT8[-1]", [1, 2]),
        (pa.array([True, False]), "BOOL[-1]", [True, False]),
        (pa.array([0, 1]), "BOOL[-1]", [False, True]),
        (pa.array([2**64 - 1], pa.uint64()), "UINT64[-1]", [2**64 - 1]),
        (pa.array(["ä", "b"]), "BYTES[-1]", ["ä".encode(), b"b"]),
        (pa.array(["a", "a"]).dictionary_encode(), "BYTES[-1]", [b"a", b"a"]),
        (pa.array([[1, 2], [3, 4]]), "FP32[-1, 2]", [[1, 2], [3, 4]]),
        (pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), "INT64[-1, -1]", [[1, 2], [3, 4]]),
        (
            pa.array([[[1], [2]], [[3], [4]]], pa.large_list(pa.list_(pa.int8()))),
            "INT64[-1, 2, 1]",
            [[[1], [2]], [[3], [4]]],
        ),
        (pa.array([[1, 2, 3, 4]]), "INT64[-1, 2, 2]", [[[1, 2], [3, 4]]]),
        (pa.array([1, 2]), "INT64[-1, 1]", [[1], [2]]),
        (pa.array([["a", "b"]]), "BYTES[-1, 2]", [[b"a", b"b"]]),
        (
            pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12).reshape(2, 2, 3)),
            "INT64[-1, 2, 3]",
            np.arange(12).reshape(2, 2, 3),
        ),
        (pa.array([], pa.int64()), "INT64[-1]", []),
        (pa.array([], pa.list_(pa.int64())), "INT64[-1, 3]", np.zeros((0, 3))),
    ],
)
def test_values_that_fit(values: pa.Array, text: str, expected: Any) -> None:
    for column in (values, pa.concat_arrays([values, values]).slice(len(values)), pa.chunked_array([values])):
        array, good, bad = one(column, text)
        wide = np.float64 if array.dtype.itemsize == 2 else array.dtype  # NumPy finds no NaN in bfloat16
        np.testing.assert_array_equal(array.astype(wide), np.array(expected, wide))
        assert good == list(range(len(values)))
        assert bad == {}


@pytest.mark.parametrize(
    ("values", "text", "limits", "reasons"),
    [
        (pa.array([1, None, 3]), "INT64[-1]", {}, {1: "null"}),
        (
            pa.array([255, 256, -1]),
            "UINT8[-1]",
            {},
            {1: "256; UINT8 takes whole numbers from 0 to 255", 2: "-1; UINT8"},
        ),
        (
            pa.array([1.0, 1.5, float("nan"), 1e30, float("inf")]),
            "INT64[-1]",
            {},
            dict.fromkeys((1, 2, 3, 4), "INT64 takes"),
        ),
        (pa.array([2.0**63, 2.0**62]), "INT64[-1]", {}, {0: "INT64 takes"}),
        (pa.array([1e300, 1.0, float("inf")]), "FP32[-1]", {}, {0: "1e\\+300; FP32 takes numbers within its range"}),
        (pa.array([2**63], pa.uint64()), "INT64[-1]", {}, {0: "INT64 takes"}),
        (pa.array([Decimal("1.00"), Decimal("1.50")]), "INT8[-1]", {}, {1: "1.50; INT8 takes"}),
        (pa.array([0, 1, 2]), "BOOL[-1]", {}, {2: "2; BOOL takes"}),
        (pa.array([0.0, 1.5, float("nan")]), "FP32[-1]", {"maximum": 1.0}, {1: "1.5 is outside", 2: "nan is outside"}),
        (
            pa.array([[1, 2], [3], None, [4, None], [5, 6]]),
            "INT64[-1, 2]",
            {},
            {1: r"shape \[1\]", 2: "null", 3: "a list holds a null"},
        ),
        (pa.array([[[1, 2], [3]], [[1, 2], [3, 4]]]), "INT64[-1, 2, 2]", {}, {0: "1 to 2 elements at level 2"}),
        (pa.array([["a"], [None]]), "BYTES[-1, 1]", {}, {1: "a list holds a null"}),
        (pa.array([[1, 2], [1, 2], [1], []]), "INT64[-1, -1]", {}, {2: "other lengths", 3: r"shape \[0\]"}),
    ],
)
def test_rows_that_do_not_fit(
    values: pa.Array, text: str, limits: Mapping[str, float], reasons: Mapping[int, str]
) -> None:
    array, good, bad = one(values, text, **limits)
    assert list(bad) == list(reasons)
    for row, why in reasons.items():
        with pytest.raises(ValueError, match=why):
            raise ValueError(bad[row])
    alone, _, none = one(values.take(pa.array(good, pa.int64())), text, **limits)
    np.testing.assert_array_equal(array, alone)
    assert none == {}


def test_tensors_whose_dimensions_lie_in_another_order() -> None:
    storage = pa.array([[1, 2, 3, 4, 5, 6], None, [7, 8, 9, 10, 11, 12]], pa.list_(pa.float32(), 6))
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float32(), (2, 3), permutation=[1, 0]), storage)
    array, good, bad = one(tensors, "FP32[-1, 3, 2]")
    assert array.tolist() == [[[1, 4], [2, 5], [3, 6]], [[7, 10], [8, 11], [9, 12]]]
    assert (good, list(bad)) == ([0, 2], [1])
    assert one(tensors.slice(2), "FP32[-1, 3, 2]")[0].tolist() == array[1:].tolist()


def test_several_inputs_keep_the_same_rows() -> None:
    inputs = {"a": spec("INT8[-1]"), "b": spec("FP32[-1, 2]"), "k": spec("INT64[1]")}
    table = pa.table({"A": [1, 300, 3, 4], "b": [[1, 2], [3, 4], [5], [7, 8]], "other": ["x"] * 4})
    rows, good, bad = to_rows(table, inputs, {"a": "A"})
    assert good.tolist() == [0, 3]
    assert rows["a"].tolist() == [1, 4]
    assert rows["b"].tolist() == [[1, 2], [7, 8]]
    assert sorted(bad) == [1, 2]
    assert set(rows) == {"a", "b"}


def test_rows_of_several_lengths_in_groups() -> None:
    inputs = {"a": spec("INT64[-1, -1]"), "b": spec("BYTES[-1, -1, -1]")}
    table = pa.table({"a": [[1], [1, 2], [3], None], "b": [[["x"]], [["y"]], [["z"]], [["w"]]]})
    groups = same_shapes(table, inputs, {})
    assert sorted(index for group in groups for index in group.tolist()) == [0, 1, 2, 3]
    found = [to_rows(table.take(pa.array(group)), inputs, {}) for group in groups]
    assert sorted(rows["a"].tolist() for rows, _, bad in found if not bad) == [[[1], [3]], [[1, 2]]]
    assert len(same_shapes(table.slice(0, 1), inputs, {})) == 1


def test_large_columns_are_not_copied() -> None:
    column = pa.array(np.arange(1000.0))
    rows, _, _ = to_rows(pa.table({"x": column}), {"x": spec("FP64[-1]")}, {})
    assert rows["x"].ctypes.data == column.buffers()[1].address
    lists = pa.FixedSizeListArray.from_arrays(column, 10)
    rows, _, _ = to_rows(pa.table({"x": lists}), {"x": spec("FP64[-1, 10]")}, {})
    assert rows["x"].ctypes.data == column.buffers()[1].address


def test_all_problems_are_listed_at_once() -> None:
    inputs = {
        "image": spec("FP32[-1, 4]"),
        "when": spec("INT64[-1]"),
        "text": spec("BYTES[-1]"),
        "k": spec("INT64[1]"),
        "flag": spec("INT8[-1]"),
        "deep": spec("FP32[-1, 2, -1]"),
        "word": spec("FP32[-1]"),
    }
    schema = pa.schema(
        [
            ("image", pa.list_(pa.float32(), 5)),
            ("when", pa.timestamp("s")),
            ("texts", pa.string()),
            ("flag", pa.bool_()),
            ("deep", pa.list_(pa.float32())),
            ("word", pa.string()),
        ]
    )
    with pytest.raises(ConfigError) as caught:
        check(schema, inputs, {"imag": "image"})
    expected = [
        "'imag' is no input of the graph; did you mean 'image'?",
        "'image': column 'image': a row of shape [5] can never become FP32[-1, 4]",
        "'when': column 'when': a column of timestamp[s] can never become INT64[-1]; turn",
        "there is no column 'text'; did you mean 'texts'?",
        "'k' (INT64[1]) is one number for all rows",
        "'flag': column 'flag': a column of bool can never become INT8[-1]",
        "'deep': column 'deep': a list a row can never become FP32[-1, 2, -1], lists in lists (2 deep) a row",
        "'word': column 'word': a column of string can never become FP32[-1]",
    ]
    for line, text in zip(caught.value.message.splitlines(), expected, strict=True):
        assert text in line


def test_constants() -> None:
    inputs = {"k": spec("INT64[1]", maximum=10), "x": spec("FP32[-1]")}
    assert constants({"k": 5}, inputs)["k"].tolist() == [5]
    for values, says in (
        ({"k": 11}, "largest value"),
        ({"k": "5"}, "string"),
        ({"x": 1.0}, "no input with one number"),
    ):
        with pytest.raises(ConfigError, match=says):
            constants(values, inputs)


def test_types_for_files_that_know_none() -> None:
    inputs = {"a": spec("UINT8[-1]"), "b": spec("BF16[-1, 2]"), "c": spec("BYTES[-1]"), "k": spec("INT64[1]")}
    found = types(inputs, {"a": "A"})
    assert found == {"A": pa.uint64(), "b": pa.list_(pa.float64()), "c": pa.binary()}


def test_bfloat16_is_rounded_once() -> None:
    array, _, _ = one(pa.array([1.00390625 + 1e-9]), "BF16[-1]")
    assert array[0] == ml_dtypes.bfloat16(1.00390625 + 1e-9)
