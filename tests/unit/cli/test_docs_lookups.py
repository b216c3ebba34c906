"""docs/lookups.md: its commands and Python run, in order, in an empty folder; its graphs answer as it says."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from configs.graph import GraphConfig
from graphs.check import check_graph
from graphs.executor import Executor
from graphs.plan import compile_plan
from servables.base import LoadOptions
from tests.support.graphs import load_inline
from tests.unit.cli.test_docs_models import check

PAGE = Path(__file__).parents[3] / "docs" / "lookups.md"
BLOCK = re.compile(r"<!-- test: ([\w. ]+) -->\n```(?:python|console|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
USERS = np.array([b"cem", b"eve", b"ann"], object)


async def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "live", raising=False)
    for marker, code in BLOCK.findall(PAGE.read_text()):
        if marker != "run this":
            Path(marker).write_text(code)
        elif code.startswith("$ "):
            for command in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
                check(*command.split("\n", 1))
        else:
            exec(compile(code, str(PAGE), "exec"), {})
    found = [await _answer(Path(f"{name}.yaml")) for name in ("shop", "mixed")]
    assert [answer["found"].tolist() for answer in found] == [[True, False, True]] * 2
    assert found[0]["items"].tolist() == [[b"jug", b"tea"], [b"", b""], [b"tea", b"cup"]]
    assert found[1]["items"].tolist() == [[b"jug", b"tea"], [b"tea", b"jug"], [b"tea", b"cup"]]
    np.testing.assert_array_equal(found[1]["scores"], np.float32([[0.7, 0.6], [0.5, 0.5], [0.9, 0.5]]))


async def _answer(path: Path) -> dict[str, np.ndarray]:
    config = GraphConfig.model_validate(yaml.safe_load(path.read_text()))
    plan = compile_plan(check_graph(config, Path()).flat)
    executor = Executor(plan, load_inline(plan, Path(), LoadOptions()), {})
    try:
        answer, _ = await executor.run({"user": USERS}, len(USERS))
    finally:
        executor.close()
    return answer
