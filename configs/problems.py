"""What is wrong with a configuration file, one `Problem` a mistake, and the error that reports them all."""

import json
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from configs.errors import ConfigError

_SHOWN = 80
"""Characters of a value that a message shows."""


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""The `value` of a problem that is about something absent."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a file: where it is, what is wrong, with which value, and the way out.

    `str(problem)` is `file:line: field.path: message (value …); remedy`, without the parts that are empty.
    """

    file: Path
    line: int | None
    """1-based; None where the problem is the file itself."""
    field: str
    """Path of keys, e.g. `nodes.cnn.batch.max_rows`; empty for the whole document."""
    message: str
    value: Any = MISSING
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else str(self.file)
        value = f" (value {shown(self.value)})" if self.value is not MISSING else ""
        field = f"{self.field}: " if self.field else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        text = f"{place}: {field}{self.message}{value}{remedy}"
        return text.encode("utf-8", "backslashreplace").decode()  # YAML can write half of a surrogate pair


def config_error(problems: Iterable[Problem]) -> ConfigError:
    """The error that reports all `problems`, in the order of their lines, one block each."""
    ordered = sorted(problems, key=lambda problem: (str(problem.file), problem.line or 0))
    return ConfigError("\n".join(map(str, ordered)))


class _Shown(reprlib.Repr):
    """Values as YAML and JSON write them. Cuts while it walks: aliases can make a small file's values huge."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3

    def repr_str(self, x: str, level: int) -> str:
        return json.dumps(x[:_SHOWN], ensure_ascii=False)

    def repr_bool(self, x: bool, level: int) -> str:
        return json.dumps(x)

    def repr_NoneType(self, x: None, level: int) -> str:  # noqa: N802 (reprlib finds it by the type's name)
        return "null"


def shown(value: Any) -> str:
    """A value as YAML and JSON write it, cut to one short line."""
    text = _Shown().repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that `word` was probably meant to be, if any is close."""
    return next(iter(get_close_matches(word, list(words), n=1)), None)


def dotted(path: Iterable[str | int]) -> str:
    """A path of keys and positions as text: `("applications", 0, "name")` is `applications[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
