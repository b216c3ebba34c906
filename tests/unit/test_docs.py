"""README and docs say what is true: their YAML is checked, their Python runs, their commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from configs.graph import GraphConfig
from graphs.check import check_graph
from tests.support.pages import snippets

PAGES = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]


def test_the_readme_shows_the_demo_graph() -> None:
    [shown] = snippets("README.md", "same nodes and outputs as configs/digits.yaml", "yaml")
    readme = GraphConfig.model_validate(yaml.safe_load(shown))
    demo = GraphConfig.model_validate(yaml.safe_load(Path("configs/digits.yaml").read_text()))
    assert (readme.name, readme.nodes, readme.outputs) == (demo.name, demo.nodes, demo.outputs)


@pytest.mark.usefixtures("demo_models")
def test_the_readme_shows_the_picture_of_the_demo(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from cli.main import main; main()", "explain", "configs/digits.yaml"]
    subprocess.run([*command, "--svg", tmp_path / "digits.svg"], check=True, capture_output=True)
    assert Path("docs/images/digits.svg").read_text() == (tmp_path / "digits.svg").read_text()


@pytest.mark.usefixtures("demo_models")
def test_the_graphs_of_the_concepts_page() -> None:
    for shown in snippets("docs/concepts.md", "check this graph", "yaml"):
        check_graph(GraphConfig.model_validate(yaml.safe_load(shown)), Path.cwd())


@pytest.mark.usefixtures("demo_models")
def test_the_python_of_the_concepts_page() -> None:
    for code in snippets("docs/concepts.md", "run this", "python"):
        exec(compile(code, "docs/concepts.md", "exec"), {})


def test_every_command_of_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", Path("Makefile").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text() for page in PAGES)
    assert set(re.findall(r"^\$ make (\w+)", text, re.MULTILINE)) <= targets
    help_text = subprocess.run(
        [sys.executable, "-c", "from cli.main import main; main()", "--help"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for command in set(re.findall(r"millrace (batch|check|explain|models|run|schema|version)\b", text)):
        assert command in help_text


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), f"{page}: {link}"
