"""Ensembles: values by hand, datatypes kept, the same bits in every batch, misfits refused."""

import ml_dtypes
import numpy as np
import pytest

from configs.tensors import TensorSpec
from graphs.ensembles import OUTPUT_OF, combine, output_specs

A = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
B = np.array([[0.75, 0.25], [0.0, 1.0]], np.float32)


def test_mean_of_two_members() -> None:
    assert combine("mean", [A, B])["mean"].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_weighted_mean_divides_by_the_sum_of_the_weights() -> None:
    assert combine("weighted_mean", [A, B], [3, 1])["mean"].tolist() == [[0.375, 0.625], [0.75, 0.25]]


def test_max_takes_each_element_and_integers_too() -> None:
    assert combine("max", [A, B])["max"].tolist() == [[0.75, 0.75], [1.0, 1.0]]
    assert combine("max", [np.array([1, 5]), np.array([3, 2])])["max"].tolist() == [3, 5]


def test_concat_joins_the_last_axis_of_members_that_differ_only_there() -> None:
    joined = combine("concat", [A, np.array([[7], [8]], np.float32)])["concat"]
    assert joined.tolist() == [[0.25, 0.75, 7], [1, 0, 8]]


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_majority_vote_breaks_ties_by_the_smallest_label(shape: tuple[int, ...]) -> None:
    votes = [np.array(labels).reshape(shape) for labels in ([5, 9, 2, 7], [5, 3, 1, 7], [4, 3, 3, 1], [4, 9, 0, 7])]
    vote = combine("majority_vote", votes)["vote"]
    assert vote.shape == shape
    assert vote.ravel().tolist() == [4, 3, 0, 7]


def test_majority_vote_keeps_small_unsigned_labels() -> None:
    votes = [np.array(labels, np.uint8) for labels in ([255, 0], [255, 255], [1, 0])]
    vote = combine("majority_vote", votes)["vote"]
    assert vote.dtype == np.uint8
    assert vote.tolist() == [255, 0]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["mean", "weighted_mean", "max", "concat"])
def test_datatype_is_kept_and_members_are_not_changed(kind: str, dtype: type) -> None:
    members = [A.astype(dtype), B.astype(dtype)]
    combined = combine(kind, members, [2, 1] if kind == "weighted_mean" else None)
    assert combined[OUTPUT_OF[kind]].dtype == dtype
    assert (members[0] == A.astype(dtype)).all()


def test_sum_of_half_precision_members_does_not_overflow() -> None:
    large = np.full((1, 1), 60000, np.float16)
    assert combine("mean", [large, large])["mean"].tolist() == [[60000]]


@pytest.mark.parametrize("kind", ["mean", "weighted_mean", "max", "concat"])
def test_each_row_has_the_same_bits_alone_and_in_any_batch(kind: str) -> None:
    rng = np.random.default_rng(0)
    members = [rng.random((67, 13), dtype=np.float32) for _ in range(5)]
    weights = [3.0, 1.0, 0.7, 0.1, 9.0] if kind == "weighted_mean" else None
    name = OUTPUT_OF[kind]
    whole = combine(kind, members, weights)[name]
    for start, stop in [(0, 1), (3, 20), (66, 67)]:
        part = combine(kind, [member[start:stop] for member in members], weights)[name]
        assert part.tobytes() == whole[start:stop].tobytes()


@pytest.mark.parametrize("kind", list(OUTPUT_OF))
def test_specs_are_those_of_the_arrays(kind: str) -> None:
    members = [np.array([[1], [2]]), np.array([[3], [4]])] if kind == "majority_vote" else [A, B]
    array = combine(kind, members, [1, 1] if kind == "weighted_mean" else None)[OUTPUT_OF[kind]]
    datatype = "INT64" if kind == "majority_vote" else "FP32"
    specs = [TensorSpec.model_validate((datatype, [-1, *member.shape[1:]])) for member in members]
    assert output_specs(kind, specs) == {OUTPUT_OF[kind]: TensorSpec.model_validate((datatype, [-1, *array.shape[1:]]))}


def test_specs_take_the_size_that_any_member_knows() -> None:
    members = [TensorSpec.model_validate(text) for text in ("FP32[-1, -1, 4]", "FP32[-1, 3, -1]")]
    assert str(output_specs("mean", members)["mean"]) == "FP32[-1, 3, 4]"
    assert str(output_specs("concat", members)["concat"]) == "FP32[-1, 3, -1]"


@pytest.mark.parametrize(
    ("kind", "members", "message"),
    [
        ("mean", ["FP32[-1, 10]", "FP32[-1, 9]"], r"one shape, not FP32\[-1, 10\] and FP32\[-1, 9\]"),
        ("mean", ["FP32[-1, 10]", "FP32[-1]"], "one shape"),
        ("mean", ["FP32[-1, 10]", "FP64[-1, 10]"], "one datatype"),
        ("weighted_mean", ["INT64[-1, 10]"], "floating-point members .* not INT64"),
        ("max", ["BYTES[-1]"], "numbers, not BYTES"),
        ("majority_vote", ["FP32[-1, 10]"], "integer labels, not FP32; put a TopK before it"),
        ("majority_vote", ["INT64[-1, 3]"], r"one label a row.* not INT64\[-1, 3\]"),
        ("concat", ["FP32[-1, 2, 4]", "FP32[-1, 3, 4]"], "differ in the last axis only"),
        ("concat", ["FP32[-1]"], "has none beside the rows"),
        ("median", ["FP32[-1]"], "unknown ensemble 'median'; known are mean"),
    ],
)
def test_members_that_do_not_fit_are_refused(kind: str, members: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        output_specs(kind, [TensorSpec.model_validate(member) for member in members])


def test_no_members() -> None:
    assert output_specs("mean", []) == {}  # before models are loaded nothing may be known of any member
    with pytest.raises(ValueError, match="mean has no members; give at least one"):
        combine("mean", [])


def test_arrays_are_never_broadcast() -> None:
    with pytest.raises(ValueError, match="one shape"):
        combine("mean", [A, A[:, :1]])
    with pytest.raises(ValueError, match="2, 1 rows"):
        combine("max", [A, A[:1]])


def test_weighted_mean_needs_one_weight_a_member() -> None:
    with pytest.raises(ValueError, match=r"2 members has the weights \[1\]"):
        combine("weighted_mean", [A, B], [1])
