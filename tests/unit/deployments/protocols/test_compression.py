import contextlib
import gzip
import re
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import InvalidInput, RequestError, TooLarge, UnsupportedMediaType
from deployments.protocols.compression import (
    MOST_EXPANSION,
    compressed,
    content_coding,
    decompressed,
    preferred_coding,
)

UNPACKED = 16 << 20
BOMB = gzip.compress(bytes(UNPACKED), 9)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "x-gzip"]))
def test_round_trip(body: bytes, coding: str) -> None:
    assert decompressed(compressed(body, coding), coding, len(body)) == body


def test_the_forms_are_those_of_the_standard_library() -> None:
    assert decompressed(gzip.compress(b"a"), "gzip", 9) == b"a"
    assert decompressed(zlib.compress(b"a"), "deflate", 9) == b"a"


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    tracemalloc.start()
    with pytest.raises(TooLarge, match=r"the gzip body holds more than the 1048576 bytes accepted.*max_request_bytes"):
        decompressed(BOMB, "gzip", 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_no_byte_becomes_more_than_the_format_allows() -> None:
    assert 0.99 < UNPACKED / len(BOMB) / MOST_EXPANSION < 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "the body is not gzip: "),
        (b"", "the gzip body ends too early"),
        (gzip.compress(b"abc")[:-1], "the gzip body ends too early"),
        (gzip.compress(b"abc") + b"xy", "2 bytes follow the gzip body"),
    ],
)
def test_broken_bodies(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        decompressed(body, "gzip", 100)


@given(st.binary(max_size=60), st.binary(max_size=5), st.integers(0, 60), st.sampled_from(["gzip", "deflate"]))
def test_random_bytes(body: bytes, change: bytes, at: int, coding: str) -> None:
    sent = compressed(body, coding)
    for broken in (body, sent[:at] + change + sent[at + len(change) :]):
        with contextlib.suppress(RequestError):
            assert len(decompressed(broken, coding, 100)) <= 100


@pytest.mark.parametrize(
    ("header", "coding"),
    [(b"", ""), (b"identity", ""), (b"gzip", "gzip"), (b" GZip ", "gzip"), (b"deflate", "deflate")],
)
def test_codings_that_are_read(header: bytes, coding: str) -> None:
    assert content_coding(header) == coding


@pytest.mark.parametrize("header", [b"br", b"gzip, gzip", b"\xff"])
def test_codings_that_are_not(header: bytes) -> None:
    with pytest.raises(UnsupportedMediaType, match="send gzip, deflate or plain"):
        content_coding(header)


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        (b"gzip", "gzip"),
        (b"deflate", "deflate"),
        (b"br, gzip", "gzip"),
        (b"gzip;q=1.0, deflate; q=0.5", "gzip"),
        (b"gzip;q=0.2,deflate;q=0.3", "deflate"),
        (b"GZIP ; Q=0.3, identity;q=0", "gzip"),
        (b"gzip, deflate", ""),
        (b"deflate, gzip, br, zstd", ""),
        (b"gzip;q=0", ""),
        (b"gzip;q=0.5, identity", ""),
        (b"identity", ""),
        (b"*", ""),
        (b"br", ""),
        (b"", ""),
        (b"gzip;q=x", ""),
        (b"gzip;q=nan", ""),
        (b"\xff;;,", ""),
    ],
)
def test_the_coding_that_a_caller_prefers(header: bytes, coding: str) -> None:
    assert preferred_coding(header) == coding
