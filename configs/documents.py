"""Reads one YAML file into plain data, and remembers the line of every key and value."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from configs.problems import MISSING, Problem, config_error, dotted

MAX_BYTES = 1 << 20
"""Largest file that is read."""
MAX_NODES = 100_000
"""Most values a document may have, counted after aliases are expanded (stops "billion laughs" files).

Text counts as one value for each 100 characters begun."""
MAX_DEPTH = 64
"""Deepest nesting, counted after aliases are expanded."""

Path_ = tuple[str | int, ...]
"""Keys and positions from the document's root to a value."""

# YAML 1.1 (what PyYAML and Ray read) takes these for text: it wants a point, and a sign in the exponent.
_NOT_A_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")


@dataclass(frozen=True)
class Document:
    """A YAML file as plain data, with lines.

    `problems` are mistakes that leave the data readable (duplicate keys and the like). Whoever accepts a
    document reports them beside its own findings, as `parse_graph` does.
    """

    path: Path
    data: dict[Any, Any]
    lines: Mapping[tuple[str, ...], int]
    problems: tuple[Problem, ...] = ()

    def line_of(self, field: Sequence[str | int]) -> int | None:
        """1-based line of the key (in a list: of the item) at `field`; None if the file has no such place."""
        return self.lines.get(tuple(map(_part, field)))

    def problem(self, field: Sequence[str | int], message: str, value: Any = MISSING, remedy: str = "") -> Problem:
        """A problem at `field`, with the line that `locate` finds."""
        return Problem(self.path, locate(self, field), dotted(field), message, value, remedy)


def locate(document: Document, field: Sequence[str | int]) -> int:
    """Line of `field`, or of the nearest place around it that the file has (a missing key: of its parent)."""
    for length in range(len(field), 0, -1):
        line = document.line_of(field[:length])
        if line is not None:
            return line
    return 1


Texts = Mapping[Path, str]
"""Contents that stand for those of files."""


def load_document(path: Path, texts: Texts = MappingProxyType({})) -> Document:
    """Read a YAML file whose root is a mapping.

    Raises ConfigError if it is missing, a folder, larger than MAX_BYTES, not UTF-8, empty, not a mapping, not
    YAML, or if its aliases expand beyond MAX_NODES values or MAX_DEPTH levels.
    """
    document = read_document(path, texts)
    if isinstance(document, Problem):
        raise config_error([document])
    return document


def read_document(path: Path, texts: Texts = MappingProxyType({})) -> Document | Problem:
    """As `load_document`, but returns the problem instead of raising it."""
    try:
        return _parse(path, texts[path] if path in texts else _read(path))
    except _Unreadable as error:
        return error.problem


class _Unreadable(Exception):
    def __init__(self, path: Path, line: int | None, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(path, line, "", message, remedy=remedy)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _Unreadable(
            path, None, "no such file", "check the path, or change to the folder it starts from"
        ) from None
    except IsADirectoryError:
        raise _Unreadable(path, None, "is a folder", "name the YAML file inside it") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise _Unreadable(path, None, f"cannot be read: {error}") from None
    if len(content) > MAX_BYTES:
        raise _Unreadable(path, None, f"is larger than {MAX_BYTES} bytes", "keep data out of configuration files")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Unreadable(path, line, f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None


def _parse(path: Path, text: str) -> Document:
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise _Unreadable(path, None, "is empty", "write at least the required keys")
        _measure(root, {})
        problems = tuple(Problem(path, *found) for found in sorted(_check(root, (), set()), key=itemgetter(0)))
        data = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        raise _marked(path, error) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _Unreadable(path, line, f"character U+{error.character:04X} is not allowed in YAML") from None
    if not isinstance(data, dict):
        raise _Unreadable(path, root.start_mark.line + 1, "must be a mapping of keys to values", "write `key: value`")
    lines: dict[tuple[str, ...], int] = {}
    _index(loader, root, (), lines)
    return Document(path, data, lines, problems)


def _marked(path: Path, error: yaml.MarkedYAMLError) -> _Unreadable:
    mark = error.problem_mark or error.context_mark
    text = ", ".join(part for part in (error.context, error.problem) if part)
    if mark is None:
        return _Unreadable(path, None, f"not YAML: {text}")
    tab = "'\\t'" in text
    remedy = "indent with spaces, not tabs" if tab else "check indentation, brackets and quotes there"
    if isinstance(error, _TooMuch):
        return _Unreadable(path, mark.line + 1, text, "write it out smaller")
    return _Unreadable(path, mark.line + 1, f"column {mark.column + 1}: not YAML: {text}", remedy)


class _TooMuch(yaml.MarkedYAMLError):
    """A limit of this module is passed."""

    def __init__(self, problem: str, node: Any) -> None:
        super().__init__(None, None, problem, node.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader (what Ray reads with), with limits on depth and number of values."""

    _depth = 0
    _nodes = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._nodes += 1
        self._depth += 1
        if self._depth > MAX_DEPTH or self._nodes > MAX_NODES:
            limit = f"{MAX_DEPTH} levels" if self._depth > MAX_DEPTH else f"{MAX_NODES} values"
            raise _TooMuch(f"has more than {limit}", self.peek_event())  # type: ignore[no-untyped-call]
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            # PyYAML lets these escape where text has the form of a tag but not its meaning, e.g. 2024-99-99.
            raise ConstructorError(
                None, None, f"{node.value!r} is not a valid {node.tag.rpartition(':')[2]}", node.start_mark
            ) from error


def _measure(node: Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """Number of values and depth of `node` with aliases expanded; anchors stand before their aliases, so no
    call goes deeper than the text does.
    """
    if id(node) in known:
        measured = known[id(node)]
        if measured is None:
            raise _TooMuch("an anchor contains itself", node)
        return measured
    known[id(node)] = None
    size, depth = 1 + (len(node.value) // 100 if isinstance(node, ScalarNode) else 0), 1
    for child in _children(node):
        child_size, child_depth = _measure(child, known)
        size, depth = size + child_size, max(depth, child_depth + 1)
        if size > MAX_NODES:
            raise _TooMuch(f"aliases expand to more than {MAX_NODES} values", node)
        if depth > MAX_DEPTH:
            raise _TooMuch(f"aliases expand to more than {MAX_DEPTH} levels", node)
    known[id(node)] = size, depth
    return size, depth


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value


_Found = tuple[int, str, str, Any, str]
"""line, field, message, value, remedy: the rest of a Problem."""


def _check(node: Node, field: Path_, seen: set[int]) -> Iterator[_Found]:
    """Mistakes that PyYAML passes over, each place of the text once although aliases repeat it."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        yield from _duplicates(node, field)
        for key, value in node.value:
            yield from _check(value, (*field, str(key.value)), seen)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _check(item, (*field, index), seen)
    elif (
        isinstance(node, ScalarNode)
        and node.style is None
        and node.tag.endswith(":str")
        and _NOT_A_NUMBER.fullmatch(node.value)
    ):
        remedy = "for a number write a point and a signed exponent, like 1.0e-3; for text put it in quotes"
        yield node.start_mark.line + 1, dotted(field), "YAML reads this as text, not as a number", node.value, remedy


def _duplicates(node: MappingNode, field: Path_) -> Iterator[_Found]:
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise ConstructorError(None, None, "a key must be a single word or text, not a collection", key.start_mark)
        if (key.tag, key.value) in first:
            earlier = first[key.tag, key.value]
            message = f"the key `{key.value}` is given twice, first on line {earlier}"
            yield line, dotted((*field, key.value)), message, MISSING, "remove one of them"
        first.setdefault((key.tag, key.value), line)


def _index(loader: _Loader, node: Node, field: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> None:
    """Note the line of each key and item. Runs after construction, which has put merged (`<<`) keys first."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            place = (*field, _part(loader.construct_object(key)))
            lines[place] = key.start_mark.line + 1
            _index(loader, value, place, lines)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            place = (*field, str(index))
            lines[place] = item.start_mark.line + 1
            _index(loader, item, place, lines)


def _part(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
