"""The keys of a table, as lookups and indexes take them."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from configs.errors import ModelError
from servables.keys import check_once, keys, whole

TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary(1), pa.dictionary("int8", "string")]


@pytest.mark.parametrize("type", TEXTS)
def test_texts_of_every_kind_are_keys(type: pa.DataType) -> None:
    pieces = pa.chunked_array([pa.array(["b"]).cast(type), pa.array(["a", "b"]).cast(type)])
    found = keys(pa.table({"k": pieces}), "k")
    assert (found.type, found.to_pylist()) == (pa.large_binary(), [b"b", b"a", b"b"])


@pytest.mark.parametrize("type", [pa.uint8(), pa.int64(), pa.dictionary("int8", "int32")])
def test_integers_are_keys(type: pa.DataType) -> None:
    found = keys(pa.table({"k": pa.array([3, 1], type)}), "k")
    assert (found.type, found.to_pylist()) == (pa.int64(), [3, 1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a", None], r"'k': row 1 has no key \(null\)"),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])), "row 1 has no key"),
        ([0.5], "'k' is double; keys are text, bytes or integers"),
        ([True], "'k' is bool; keys are"),
        (pa.array([1, 2**63], pa.uint64()), "'k' is uint64 and cannot become int64: .*write it as text"),
        (pa.array([], pa.string()), "no rows"),
    ],
)
def test_what_cannot_be_a_key_is_refused(values: list | pa.Array, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        keys(pa.table({"k": values}), "k")


def test_the_column_is_there_once() -> None:
    with pytest.raises(ModelError, match=r"no column 'k'; the table has a, b"):
        keys(pa.table({"a": [1], "b": [1]}), "k")
    with pytest.raises(ModelError, match=r"2 columns 'k'; the table has k, k"):
        keys(pa.table([[1], [1]], names=["k", "k"]), "k")


@pytest.mark.parametrize(
    ("values", "words"),
    [(["b", "a", "a", "b"], "'k': 'b' stands in rows 0 and 3"), ([3, 7, 7, 7], "7 stands in rows 1 and 2")],
)
def test_a_key_has_one_row(values: list, words: str) -> None:
    found = keys(pa.table({"k": values}), "k")
    order = pc.sort_indices(found)
    with pytest.raises(ModelError, match=words):
        check_once(found.take(order), order, "k")
    check_once(found.slice(1, 1), order.slice(0, 1), "k")


def test_pieces_become_one_beyond_the_limit_of_their_type() -> None:
    nothing = pa.Array.from_buffers(pa.null(), 2**30, [None])  # takes no memory
    half = pa.ListArray.from_arrays(pa.array([0, 2**30], pa.int32()), nothing)
    found = whole("v", pa.chunked_array([half, half]), pa.large_list(pa.null()))
    assert (len(found), len(found.values)) == (2, 2**31)
