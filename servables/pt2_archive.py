"""Look into a .pt2 archive before PyTorch does: its loader would unpickle and evaluate what it finds.

`torch.export.load` reads the sample inputs with `weights_only=False` when the safe way fails, loads pickled
weights and opaque objects, runs shared libraries of AOTInductor, and gives the text of symbolic sizes to
`sympy.sympify`, which is an `eval` (PyTorch 2.13, `torch/export/pt2_archive/_package.py` and
`torch/_export/serde/serialize.py`). What `torch.export.save` writes for an ordinary model needs none of that.
"""

import ast
import io
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import ModelError
from servables.extras import require
from servables.files import one_line

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_ALLOWED = re.compile(
    r"models/model\.json|data/sample_inputs/model\.pt|extra/.+|archive_format|archive_version|byteorder"
    r"|data/weights/(weight_\d+|model_weights_config\.json|model\.pt)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json|model\.pt)|\.data/(version|serialization_id)"
)
_EXPRESSION = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator,
    ast.unaryop, ast.Compare, ast.cmpop,
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z]\w*")
_ONE_AT_A_TIME = threading.Lock()
# PyTorch's loader keeps its state in a global: of two loads at a time one fails (_CURRENT_DESERIALIZER); and Python
# 3.11 counts the depth of `ast.parse` once for all threads ("AST constructor recursion depth mismatch").


def load_program(path: Path) -> "ExportedProgram":
    """Load the exported program of a .pt2 file. Raises ModelError if it holds anything that would run code."""
    with _ONE_AT_A_TIME:
        return _load_program(path)


def _load_program(path: Path) -> "ExportedProgram":
    package = require("torch.export.pt2_archive._package", "torch")
    with package.PT2ArchiveReader(str(path)) as reader:
        for name in _names(path, reader.get_file_names()):
            if name.endswith(".json"):
                _check_json(path, name, json.loads(reader.read_bytes(name)))
            elif name.endswith(".pt"):
                _check_pickle(path, name, reader.read_bytes(name))
    # not torch.export.load: on errors that goes on to a format of 2023, which this module has not looked into
    return package.load_pt2(str(path)).exported_programs["model"]


def _names(path: Path, names: list[str]) -> list[str]:
    strange = [name for name in names if not _ALLOWED.fullmatch(name)]
    if strange or len(set(names)) != len(names):
        raise ModelError(f"{path} holds {strange or 'a file twice'}; save it with torch.export.save(program, path)")
    return [name for name in names if not name.startswith("extra/")]


def _check_pickle(path: Path, name: str, content: bytes) -> None:
    torch = require("torch", "torch")
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # UnpicklingError, or whatever a damaged pickle raises
        raise ModelError(f"{path}: {name} in it is not plain tensors and is not opened: {one_line(error)}") from error


def _check_json(path: Path, name: str, content: Any) -> None:
    for key, value in _fields(content):
        if key == "use_pickle" and value:
            raise ModelError(f"{path}: {name} in it asks to unpickle weights; save plain tensors")
        if key == "expr_str" and not _harmless(value):
            raise ModelError(f"{path}: {name} in it holds {value!r} as a size; that is not arithmetic")


def _fields(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _fields(item)


def _harmless(text: Any) -> bool:
    """Whether a size's text is names, numbers, arithmetic and calls by name, such as `Symbol('s0', integer=True)`."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return False
    words = [node.id for node in nodes if isinstance(node, ast.Name)]
    words += [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    calls = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return (
        all(isinstance(node, _EXPRESSION) for node in nodes)
        and all(_NAME.fullmatch(word) for word in words)
        and all(name[0].isupper() or name in {"floor", "ceiling"} for name in calls)
    )
