import re

import numpy as np
import pytest

from configs.errors import InvalidInput
from configs.tensors import Datatype
from deployments.protocols.binary import as_bytes, from_bytes, to_bytes


def test_tensors_are_views_even_unaligned() -> None:
    data = b"." + np.arange(6, dtype=np.float32).tobytes()
    array = from_bytes("x", memoryview(data)[1:], Datatype.FP32, (2, 3))
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.shares_memory(np.frombuffer(to_bytes(array), np.uint8), array)


def test_strided_arrays_are_written_row_major() -> None:
    assert (
        bytes(to_bytes(np.arange(6, dtype=np.int16).reshape(2, 3).T)) == np.array([0, 3, 1, 4, 2, 5], "<i2").tobytes()
    )
    assert bytes(to_bytes(np.arange(6, dtype=np.uint8)[::2])) == bytes([0, 2, 4])


@pytest.mark.parametrize("array", [np.array([b"ab", b""], object), np.array([b"ab", b""]), np.array(["ab", ""])])
def test_bytes_have_a_length_prefix(array: np.ndarray) -> None:
    assert to_bytes(array) == b"\2\0\0\0ab\0\0\0\0"


def test_elements_become_bytes() -> None:
    mixed = as_bytes(np.array([["é", b"b"]], object))
    assert mixed.tolist() == [["é".encode(), b"b"]]
    assert as_bytes(mixed) is mixed
    assert as_bytes(np.array(["a"])).dtype == object


def test_other_objects_are_refused() -> None:
    with pytest.raises(TypeError, match="an element of a BYTES tensor is int, not bytes or str"):
        to_bytes(np.array([1], object))


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "message"),
    [
        (b"\0" * 7, Datatype.FP32, (1, 2), "FP32 of shape [1, 2] needs 8 bytes, got 7"),
        (b"", Datatype.INT64, (2**62, 4), f"needs {2**67} bytes, got 0"),
        (b"\0\2", Datatype.BOOL, (2,), "BOOL takes bytes 0 and 1, found 2"),
        (b"\1\0\0", Datatype.BYTES, (1,), "BYTES of shape [1] needs at least 4 bytes, got 3"),
        (b"\2\0\0\0a", Datatype.BYTES, (1,), "element 0 of 1 reaches beyond the 5 bytes of the tensor"),
        (b"\4\0\0\0abcd", Datatype.BYTES, (2,), "element 1 of 2 reaches beyond the 8 bytes of the tensor"),
        (b"\xff\xff\xff\xffabcd", Datatype.BYTES, (2,), "element 0 of 2 reaches beyond the 8 bytes of the tensor"),
        (b"\1\0\0\0abc", Datatype.BYTES, (1,), "2 of 7 bytes are left after its 1 elements"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(data: bytes, datatype: Datatype, shape: tuple, message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        from_bytes("x", data, datatype, shape)
