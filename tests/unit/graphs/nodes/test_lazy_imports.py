"""Importing the stock nodes is cheap; a missing library is an error that names its extra."""

import subprocess
import sys
from typing import Any

import pytest

import graphs.nodes
from configs.errors import MissingExtra


def test_importing_the_nodes_imports_neither_pillow_nor_tokenizers() -> None:
    code = "import sys, graphs.nodes; print({'PIL', 'tokenizers', 'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_all_names_can_be_imported() -> None:
    assert all(callable(getattr(graphs.nodes, name)) for name in graphs.nodes.__all__)


@pytest.mark.parametrize(
    ("library", "node", "arguments", "extra"),
    [
        ("PIL.Image", "DecodeImage", {}, "images"),
        ("PIL.Image", "Resize", {"height": 1, "width": 1}, "images"),
        ("tokenizers", "Tokenise", {"tokenizer": "t.json", "max_length": 4}, "text"),
    ],
)
def test_a_missing_library_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, library: str, node: str, arguments: dict[str, Any], extra: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'millrace\[{extra}\]'"):
        getattr(graphs.nodes, node)(**arguments)
