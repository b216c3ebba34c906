"""Every snippet of docs/model-formats.md runs, in order, in an empty folder."""

import json
import re
import sys
from pathlib import Path

import pytest

from configs.tensors import Signature
from servables.load import FORMATS
from servables.manifest import Manifest
from servables.samples import warmup_rows

TAKEN = Signature(inputs={"x": "FP32[-1, 2]", "text": "BYTES[-1]"})  # type: ignore[dict-item]
PAGE = Path(__file__).parents[3] / "docs" / "model-formats.md"
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+)\.py\n")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*Any type hint is inferred")  # MLflow of itself
def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    blocks = BLOCK.findall(PAGE.read_text())
    names = {}
    for language, code in blocks:
        if "b64" in code:
            (tmp_path / "warmup.json").write_text(code)
            assert warmup_rows(tmp_path, TAKEN) is not None
        elif language == "json":
            Manifest.model_validate(json.loads(code))
        elif file := FILE.match(code):
            (tmp_path / f"{file[1]}.py").write_text(code)
            monkeypatch.delitem(sys.modules, file[1], raising=False)
        else:
            exec(compile(code, str(PAGE), "exec"), names)
    assert len(blocks) > len(FORMATS)


def test_every_format_is_described() -> None:
    text = PAGE.read_text()
    for name, adapter in FORMATS.items():
        assert re.search(rf"^## {name}\b", text, re.MULTILINE)
        assert name == "python" or all(f"`{pattern}`" in text for pattern in adapter.PATTERNS)
