"""Content codings of HTTP bodies: gzip and deflate (zlib's format), both ways (RFC 9110, 8.4.1 and 12.5.3)."""

import zlib
from functools import lru_cache

from configs.errors import InvalidInput, TooLarge, UnsupportedMediaType

MOST_EXPANSION = 1032
"""Bytes that one compressed byte can become, by the format of deflate."""
LEAST_BYTES = 128
"""An answer that is smaller goes out as it is: its headers would be longer."""

_FAST = 1
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def content_coding(header: bytes) -> str:
    """The coding that a request's Content-Encoding names; empty: none. Raises UnsupportedMediaType."""
    coding = header.decode("latin-1").strip().lower()
    if coding in ("", "identity"):
        return ""
    if coding not in _WBITS:
        raise UnsupportedMediaType(f"content-encoding {coding[:50]!r} is not supported; send gzip, deflate or plain")
    return coding


def decompressed(body: bytes, coding: str, limit: int) -> bytes:
    """The body without its coding. No more than `limit` bytes are ever made of it, however small it came.

    Raises TooLarge, and InvalidInput for what is not of that coding or ends too early.
    """
    reader = zlib.decompressobj(_WBITS[coding])
    try:
        plain = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidInput(f"the body is not {coding}: {error}") from None
    if len(plain) > limit:
        raise TooLarge(
            f"the {coding} body holds more than the {limit} bytes accepted; "
            "send fewer rows, or raise `max_request_bytes` in the serve config"
        )
    if not reader.eof:
        raise InvalidInput(f"the {coding} body ends too early")
    if reader.unused_data:
        raise InvalidInput(f"{len(reader.unused_data)} bytes follow the {coding} body")
    return plain


def compressed(body: bytes, coding: str) -> bytes:
    """The body in that coding, fast rather than small."""
    writer = zlib.compressobj(_FAST, wbits=_WBITS[coding])
    return writer.compress(body) + writer.flush()


@lru_cache(maxsize=256)
def preferred_coding(header: bytes) -> str:
    """The coding that a request's Accept-Encoding prefers; empty: none.

    Clients' libraries send a list like `gzip, deflate` on their own, by which nobody asked for a smaller and slower
    answer. So an answer is compressed for a caller who prefers one coding: `gzip`, or `gzip, deflate;q=0.5`.
    """
    weights = dict(map(_weighed, header.decode("latin-1").lower().split(",")))
    known = {coding: weight for coding, weight in weights.items() if coding in ("gzip", "deflate", "identity")}
    best = max(known.values(), default=0.0)
    wanted = [coding for coding, weight in known.items() if weight == best]
    return wanted[0] if best > 0 and len(wanted) == 1 and wanted != ["identity"] else ""


def _weighed(item: str) -> tuple[str, float]:
    coding, _, weight = item.partition(";")
    if not weight.strip():
        return coding.strip(), 1.0
    try:
        return coding.strip(), float(weight.strip().removeprefix("q="))
    except ValueError:
        return coding.strip(), 0.0  # not a weight: not asked for
