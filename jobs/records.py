"""A text file of any size as blocks of whole records, so that one broken record does not take others with it."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from configs.errors import ConfigError

BLOCK = 4 << 20
"""Bytes that are read at a time."""
LONGEST = 32 << 20
"""Bytes that a record may have; a longer one is bad."""

_NEAR = 64
"""Lines that are looked at from the end of a block before all of it is."""
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")

End = Callable[[bytes], int]
"""Where the last whole record in a block ends; 0 if none does."""


def line_end(block: bytes) -> int:
    """Where the last whole line ends."""
    return block.rfind(b"\n") + 1


def quoted_end(block: bytes) -> int:
    """Where the last line ends that does not end within quotes, if the block does not begin within them."""
    end = line_end(block)
    quotes = block.count(b'"', 0, end)
    for _ in range(_NEAR):
        if not end or quotes % 2 == 0:
            return end
        before = block.rfind(b"\n", 0, end - 1) + 1
        quotes -= block.count(b'"', before, end)
        end = before
    signs = np.frombuffer(block, np.uint8, end)
    within = np.logical_xor.accumulate(signs == ord('"'))
    ends = np.flatnonzero((signs == ord("\n")) & ~within)
    return int(ends[-1]) + 1 if len(ends) else 0


def records(
    file: Any, name: str, end_of: End, whole: Callable[[bytes], bool] = lambda _: True
) -> Iterator[bytes | None]:
    """Blocks of whole records, in order; None stands for one record that is too long or has no end.

    Args:
        whole: whether a line is a record although `end_of` sees no end in it.

    Raises:
        ConfigError: the file is UTF-16.
    """
    rest = _first(file, name)
    while True:
        chunk = file.read(BLOCK)
        rest += chunk
        end = end_of(rest)
        if end:
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > LONGEST:
            rest = yield from _passed(file, rest, whole)
        if not chunk:
            break
    while rest:  # a record without an end, and what could be records after it
        line, mark, rest = rest.partition(b"\n")
        yield line + mark if whole(line) else None
        if end := end_of(rest):
            yield rest[:end]
            rest = rest[end:]


def _first(file: Any, name: str) -> bytes:
    start = bytes(file.read(len(_BOM)))
    if start[:2] in _WIDE:
        raise ConfigError(f"{name} is UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    return start.removeprefix(_BOM)


def _passed(file: Any, rest: bytes, whole: Callable[[bytes], bool]) -> Generator[bytes | None, None, bytes]:
    """Give up the record that `rest` begins with; returns what follows its first line."""
    line, mark, after = rest.partition(b"\n")
    yield line + mark if mark and whole(line) else None
    while not mark and (chunk := file.read(BLOCK)):
        _, mark, after = chunk.partition(b"\n")
    return after
