"""Rows as bytes: what goes in comes out, and no bytes from outside do anything but be refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.tensors import Datatype, Rows
from graphs.row_bytes import pack, unpack
from tests.unit.deployments.protocols.samples import same, tensors

TEXTS = {"o": np.array([["é\0", b"\xff"], ["", "\ud800"]], object), "s": np.array([b"ab", b""]), "u": np.array(["žx"])}


def equal(left: Rows, right: Rows) -> bool:
    return list(left) == list(right) and all(same(left[name], right[name]) for name in left)


@given(st.lists(tensors(), max_size=4))
def test_every_datatype_comes_back(arrays: list[tuple[Datatype, np.ndarray]]) -> None:
    rows = {f"é{index}": array for index, (_, array) in enumerate(arrays)}
    assert equal(unpack(pack(rows)), rows)


def test_texts_and_empty_arrays_and_views_come_back() -> None:
    rows = {**TEXTS, "none": np.zeros((1, 0), np.float32), "view": np.arange(6).reshape(2, 3).T, "one": np.array(7)}
    back = unpack(pack(rows))
    assert {name: array.tolist() for name, array in back.items()} == {k: v.tolist() for k, v in rows.items()}
    assert {name: array.dtype for name, array in back.items()} == {k: v.dtype for k, v in rows.items()}


@pytest.mark.parametrize("array", [np.array([{}], object), np.array([1], "M8[s]"), np.array([1j])])
def test_what_has_no_form_is_refused(array: np.ndarray) -> None:
    with pytest.raises(TypeError):
        pack({"x": array})


PACKED = pack({"x": np.ones((1, 2), np.float32), **TEXTS})


@given(st.integers(0, len(PACKED)), st.integers(0, 9), st.binary(max_size=9))
def test_other_bytes_are_refused_or_are_rows(start: int, cut: int, piece: bytes) -> None:
    data = PACKED[:start] + piece + PACKED[start + cut :]
    try:
        rows = unpack(data)
    except ValueError:
        return
    assert all(isinstance(array, np.ndarray) for array in rows.values())


@pytest.mark.parametrize("data", [b"", b"MR2", b"MR1", PACKED[:-1], PACKED + b"\0", b"\x80\x04K\x01."])
def test_broken_bytes_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"rows|announced|elements|left"):
        unpack(data)
