"""docs/models.md, "Serve from elsewhere": its nodes and its serve config are valid, its numbers right."""

from pathlib import Path

import yaml

from configs.graph import ModelNode
from configs.serve import lint_serve_config
from servables.sources.fetched import KEPT
from servables.sources.named import source_of
from tests.support.pages import snippets

PAGE = "docs/models.md"


def test_the_nodes() -> None:
    [shown] = snippets(PAGE, "nodes", "yaml")
    for fields in yaml.safe_load(shown).values():
        source_of(ModelNode.model_validate(fields).model, Path())
    assert KEPT == 5
    assert "the five used last stay" in Path(PAGE).read_text()


def test_the_serve_config(tmp_path: Path) -> None:
    [shown] = snippets(PAGE, "serve config", "yaml")
    path = tmp_path / "serve_config.yaml"
    path.write_text(shown)
    assert lint_serve_config(path) == []
