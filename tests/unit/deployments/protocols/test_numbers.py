"""Long lists of numbers: read by simdjson or by orjson, a document gives the same arrays or the same complaint."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InvalidInput
from configs.tensors import Signature
from deployments.protocols import numbers, plain, predict, v2_json
from deployments.protocols.numbers import NumberList, parse_numbers

DATATYPES = ["BOOL", "UINT8", "UINT64", "INT8", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES"]
NUMBERS = st.one_of(
    st.integers(0, 1),
    st.integers(-(2**70), 2**70),
    st.sampled_from([127, 128, 255, 256, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just(1e5),
)
ODD = st.sampled_from([True, None, "1", "[", [], [1], [[1.5]], {}, {"b64": "AA=="}, [[[]] * 30]])
TEXT_OF_ODD_NUMBERS = [b"1e400", b"-0", b"1E5", b"0.10", b"01", b"NaN", b"1_0", b"-", b'"\\u005b"', b'"\\ud800"']


def signature(datatype: str, shape: list[int]) -> Signature:
    return Signature.model_validate({"inputs": {"x": {"datatype": datatype, "shape": shape}}, "outputs": {}})


def documents(value: Any, datatype: str) -> list[tuple[Any, Any]]:
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    v2 = {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": value}], "parameters": {"a": "["}}
    decoders = [
        (plain, {"x": value}),
        (plain, {"x": value, "y": "["}),
        (predict, {"instances": [{"x": value}, {"x": value}]}),
        (predict, {"instances": value}),
        (predict, {"inputs": {"x": value}, "y": [0] * 9}),
        (v2_json, v2),
    ]
    return [(codec, document) for codec, document in decoders]


def decode(codec: Any, body: bytes, signature: Signature) -> Any:
    try:
        if codec is plain:
            request = plain.decode(body, "", signature)
        elif codec is predict:
            request = predict.decode(body, signature, "m", "")
        else:
            request = v2_json.decode_infer(body, None, signature, "m", "")
    except InvalidInput as error:
        return error.message
    x = request.rows["x"]
    return x.dtype, x.shape, x.tolist(), request.single


def both_ways(codec: Any, body: bytes, signature: Signature) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "_LONG_TEXT", 1)
        patch.setattr(numbers, "_LONG_LIST", 6)  # more than a shape has
        patch.setattr(numbers, "_LONG_ROW", 1)
        fast = decode(codec, body, signature)
        patch.setattr(numbers, "_LONG_TEXT", 1 << 40)
        assert fast == decode(codec, body, signature)


@st.composite
def values(draw: st.DrawFn) -> Any:
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    flat = draw(st.lists(NUMBERS, min_size=27, max_size=27))
    value = np.array(flat[: int(np.prod(shape))], object).reshape(shape).tolist()
    for _ in range(draw(st.integers(0, 1))):
        at = value
        while draw(st.booleans()) and isinstance(at[-1], list):
            at = at[-1]
        at[draw(st.integers(0, len(at) - 1))] = draw(ODD)
    return value


@given(values(), st.sampled_from(DATATYPES))
def test_the_same_by_either_parser(value: Any, datatype: str) -> None:
    rank = len(documents(value, datatype)[-1][1]["inputs"][0]["shape"])
    for codec, document in documents(value, datatype):
        body = json.dumps(document, allow_nan=False).encode()
        for shape in ([-1] * rank, [-1] * (rank + 1)):
            both_ways(codec, body, signature(datatype, shape))


@pytest.mark.parametrize(
    "body",
    [
        b'{"y": %s, "x": [1, 2, 3, 4, 5, 6]}' % (b"[" * 300 + b"]" * 300),
        b'{"e": "\\u005b", "x": [1, 2, 3, 4, 5, [6]]}',
        b'{"e": "\\u005B", "x": [1, 2, 3, 4, 5, [6]]}',
        b'\xef\xbb\xbf{"x": [1, 2, 3, 4, 5, 6]}',
        b'{"x": [1, 2, 3, 4, 5, 6], "\\u0000": 1}',
    ],
    ids=["deep", "escaped bracket", "escaped bracket, upper case", "byte order mark", "NUL in a key"],
)
def test_documents_that_only_one_parser_would_take(body: bytes) -> None:
    both_ways(plain, body, signature("FP32", [-1]))


def test_a_list_longer_than_simdjson_counts() -> None:
    # pysimdjson would write past the end of a list: in a process of its own, so that this one would live.
    code = """
from deployments.protocols.arrays import parse_tensors
data = parse_tensors(b'{"x":[' + b"1," * 0x1000001 + b"1]}", "")["x"]
assert len(data) == 0x1000002
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", TEXT_OF_ODD_NUMBERS)
def test_numbers_as_text(number: bytes) -> None:
    for datatype in ("FP32", "INT32", "BYTES"):
        both_ways(plain, b'{"x": [1, %s], "x": [2, %s]}' % (number, number), signature(datatype, [-1]))


@pytest.mark.parametrize("rows", [[[0.5] * 100] * 20, [[7] * 100] * 20])
def test_a_long_body_is_packed_without_python_objects(rows: list[list[float]]) -> None:
    document = parse_numbers(json.dumps({"id": "[", "inputs": [{"name": "x", "data": rows}]}).encode())
    data = document["inputs"][0]["data"]
    assert isinstance(data, NumberList)
    assert data.shape == [20, 100]


@pytest.mark.parametrize(
    "body",
    [
        {"x": [[1] * 100] * 50 + [[1] * 99]},
        {"x": [[1] * 99 + [[1]]] * 50},
        {str(i): [1] * 100 for i in range(100)},
        [{"x": [1] * 100}] * 100,
    ],
    ids=["ragged", "deeper", "many keys", "many objects"],
)
def test_what_would_not_gain_is_left_to_orjson(body: Any) -> None:
    assert parse_numbers(json.dumps(body).encode()) is None
