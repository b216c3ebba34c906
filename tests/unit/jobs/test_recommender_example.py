"""The demo of precomputed answers, small: its jobs, its index, its table, and the graph that serves them."""

import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import yaml

from configs.errors import RowErrors
from configs.graph import node_class
from configs.tensors import Rows
from examples.recommender import make
from examples.recommender.data import Item, load
from graphs.check import check_file
from graphs.executor import Executor
from graphs.plan import compile_plan
from servables.base import LoadOptions
from tests.support.graphs import load_inline
from tests.support.jobs import run_here
from tests.support.pages import snippets

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return load(["numpy", "numpy.linalg", "numpy.fft"])


@pytest.fixture(scope="module")
def made(items: list[Item], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Everything made of a fifth of the items: the folder, and what was said."""
    root = tmp_path_factory.mktemp("recommender")
    (root / "examples").symlink_to(ROOT / "examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make, "run", run_here)
        patch.setattr(make, "connected", nullcontext)
        return root, [*make.make(items, root), *make.quality(items, root)]


def test_the_authors_recommendations_are_read(items: list[Item]) -> None:
    known = {item.id: item for item in items}
    assert known["numpy.tile"].related == {"numpy.repeat", "numpy.broadcast_to"}
    assert "See Also" not in known["numpy.tile"].text
    assert "Construct an array by repeating A" in known["numpy.tile"].text
    assert sum(bool(item.related) for item in items) > 200


def test_it_recommends_what_the_authors_do_and_says_how_well(made: tuple[Path, list[str]]) -> None:
    graph, authors = (re.search(r"items.*: (0\.\d+|1\.0)", line) for line in made[1][-2:])
    assert graph
    assert authors
    assert float(graph[1]) > 0.99
    assert float(authors[1]) > 0.5


def test_the_page_shows_the_graphs_nodes() -> None:
    graph = yaml.safe_load((ROOT / "examples/recommender/functions.yaml").read_text())
    [shown] = snippets("docs/lookups.md", "nodes of the demo", "yaml")
    assert yaml.safe_load(shown) == graph["nodes"]
    [written] = snippets("docs/lookups.md", "nodes", "yaml")
    for fields in yaml.safe_load(written).values():
        node_class(fields).model_validate(fields)


async def test_known_items_are_looked_up_and_others_answered_live(
    made: tuple[Path, list[str]], items: list[Item]
) -> None:
    plan = compile_plan(check_file(ROOT / "examples/recommender/functions.yaml", made[0]).flat)
    executor = Executor(plan, load_inline(plan, made[0], LoadOptions()), {})

    async def ask(**texts: list[str]) -> Rows:
        rows = {name: np.array([text.encode() for text in given], object) for name, given in texts.items()}
        return (await executor.run(rows, len(texts["id"])))[0]

    tile = next(item for item in items if item.id == "numpy.tile")
    found = await ask(id=["numpy.tile", "mine.tile"], text=["", tile.text])
    assert found["known"].tolist() == [True, False]
    assert b"numpy.repeat" in found["ids"][0]
    assert b"numpy.tile" not in found["ids"][0]
    assert found["ids"][1, 0] == b"numpy.tile"
    live = await ask(id=["numpy.tile "], text=[tile.text])
    np.testing.assert_array_equal(live["ids"][0, 1:], found["ids"][0, :9])
    np.testing.assert_array_equal(live["scores"][0, 1:], found["scores"][0, :9])
    with pytest.raises(RowErrors, match="no word that the model knows"):
        await ask(id=["?"], text=["?"])
    executor.close()
