import re

import numpy as np
import pytest

from configs.errors import InvalidInput
from configs.tensors import Datatype, TensorSpec
from deployments.protocols.classification import class_count, classified, top_classes
from tests.unit.deployments.protocols.samples import NUMBERS

FLOATS = TensorSpec(datatype=Datatype.FP32, shape=(-1, 4))


def test_each_row_gives_its_largest_as_triton_writes_them() -> None:
    scores = np.array([[0.1, 0.7, 0.2, 0.0], [3, -1, 2, 1e9]], np.float32)
    assert top_classes(scores, 2).tolist() == [
        [b"0.700000:1", b"0.200000:2"],
        [b"1000000000.000000:3", b"3.000000:0"],
    ]


@pytest.mark.parametrize("datatype", [d for d in NUMBERS if d is not Datatype.BOOL])
def test_every_number_has_an_order(datatype: Datatype) -> None:
    classes = top_classes(np.array([[1, 3, 2]]).astype(datatype.dtype), 9)
    assert [item.split(b":")[1] for item in classes[0]] == [b"1", b"2", b"0"]
    assert classes[0, 0] == (b"3:1" if datatype.dtype.kind in "iu" else b"3.000000:1")


def test_equal_values_keep_their_order_and_nan_comes_last() -> None:
    assert top_classes(np.array([[np.nan, 1, 2, 1, 2]]), 5).tolist() == [
        [b"2.000000:2", b"2.000000:4", b"1.000000:1", b"1.000000:3", b"nan:0"]
    ]


@pytest.mark.parametrize(("shape", "expected"), [((2,), (2, 1)), ((2, 3), (2, 3)), ((2, 1, 2, 4), (2, 5))])
def test_the_dimensions_of_a_row_count_as_one(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert top_classes(np.zeros(shape, np.int8), 5).shape == expected


def test_other_outputs_stay() -> None:
    scores = np.ones((1, 2))
    outputs = classified({"a": scores, "b": scores}, {"b": 1})
    assert outputs["a"] is scores
    assert outputs["b"].tolist() == [[b"1.000000:0"]]


@pytest.mark.parametrize(
    ("value", "datatype", "message"),
    [
        ("3", "FP32", "output 'y': classification is '3', expected the number of classes"),
        (True, "FP32", "classification is True"),
        (-1, "FP32", "classification is -1"),
        (1, "BYTES", "output 'y' is BYTES; classification needs numbers"),
        (1, "BOOL", "output 'y' is BOOL; classification needs numbers"),
    ],
)
def test_what_cannot_be_classified(value: object, datatype: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        class_count("y", value, TensorSpec.model_validate(f"{datatype}[-1]"))


def test_zero_classes_is_no_classification() -> None:
    assert class_count("y", 0, TensorSpec.model_validate("BYTES[-1]")) == 0
    assert class_count("y", 3, FLOATS) == 3
