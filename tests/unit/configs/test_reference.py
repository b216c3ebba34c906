"""The generated reference is what is committed, and its examples are right."""

import re
from pathlib import Path

import pytest
import yaml

from configs.graph import GraphConfig
from configs.reference import GRAPH_EXAMPLE, SERVE_EXAMPLE, reference
from configs.serve import AppArgs, lint_serve_config

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_committed_page_is_up_to_date():
    assert PAGE.read_text() == reference(), "run: python -m configs.reference > docs/configuration.md"


def test_every_key_has_a_type():
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert all(len(row) == 4 and row[1].strip() for row in rows)


def test_links_lead_to_headings():
    page = reference()
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", page, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors


def test_the_graph_example_is_valid():
    assert len(GraphConfig.model_validate(yaml.safe_load(GRAPH_EXAMPLE)).nodes) == 5


def test_the_serve_example_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for graph in AppArgs.model_validate(yaml.safe_load(SERVE_EXAMPLE)["applications"][0]["args"]).graphs:
        (tmp_path / graph).parent.mkdir(exist_ok=True)
        (tmp_path / graph).touch()
    path = tmp_path / "serve_config.yaml"
    path.write_text(SERVE_EXAMPLE)
    assert lint_serve_config(path) == []
