"""Reads the parts of a multipart/form-data body (RFC 7578) with python-multipart."""

import logging
from typing import TYPE_CHECKING, NamedTuple

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from configs.errors import InvalidInput

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 1024
"""More parts are refused: each costs Python time, whatever its size."""

_QUIET = logging.Logger("multipart", logging.CRITICAL)
"""For the parser, which would write a line into the log for every broken body: its caller is told instead."""


class Part(NamedTuple):
    """One field of the form: its name and its raw content."""

    name: str
    content: bytes


def parse_parts(body: bytes, content_type: str) -> list[Part]:
    """The parts in order. Raises InvalidInput for a missing boundary, broken framing or a part without a name."""
    header = content_type.encode("latin-1", errors="replace")
    boundary = parse_options_header(header)[1].get(b"boundary")
    if not boundary:
        raise InvalidInput("multipart/form-data needs a boundary in its Content-Type; let the client library set it")
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.logger = _QUIET
        parser.write(body)
        parser.finalize()
    except MultipartParseError as error:
        raise InvalidInput(f"the multipart body is broken: {error}") from None
    if not collector.complete:
        raise InvalidInput("the multipart body ends before its closing boundary")
    return collector.parts


class _Collector:
    """Builds parts from the parser's callbacks."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._name = ""
        self._header, self._value, self._content = bytearray(), bytearray(), bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise InvalidInput(f"the multipart body has more than {MAX_PARTS} parts; send several requests")
        self._name = ""
        self._content = bytearray()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            name = parse_options_header(bytes(self._value))[1].get(b"name", b"")
            self._name = name.decode(errors="replace")
        self._header, self._value = bytearray(), bytearray()

    def _end_part(self) -> None:
        if not self._name:
            raise InvalidInput("a part of the multipart body has no name; name it after an input")
        self.parts.append(Part(self._name, bytes(self._content)))

    def _end(self) -> None:
        self.complete = True
