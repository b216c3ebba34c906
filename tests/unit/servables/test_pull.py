"""Pulling: a version of a store becomes one here, under its number, or nothing does."""

from pathlib import Path

import pytest

from configs.errors import ModelError
from servables.pull import pull_model
from servables.push import push_model
from servables.store import scan
from servables.versions import State


@pytest.fixture
def store(tmp_path: Path) -> Path:
    source = tmp_path / "model.txt"
    for number, text in ((1, "tree"), (2, "trees"), (7, "wood")):
        source.write_text(text)
        push_model(source, "m", tmp_path / "store", number, options=None)
    return tmp_path / "store" / "m"


def test_the_newest_or_the_one_that_is_named(store: Path, tmp_path: Path) -> None:
    done: list[int] = []
    pulled = pull_model(
        f"file://{store}", "m", tmp_path / "here", options=None, progress=lambda size, total: done.append(size)
    )
    assert (pulled.version.number, (pulled.version.path / "model.txt").read_text()) == (7, "wood")
    assert sum(done) == sum(path.stat().st_size for path in (store / "7").iterdir())
    assert pull_model(f"file://{store}", "m", tmp_path / "here", 2, options=None).version.number == 2
    assert {each.number: each.judgement.state for each in scan(tmp_path / "here" / "m", 0)} == {
        7: State.WHOLE,
        2: State.WHOLE,
    }


def test_what_cannot_be_pulled_leaves_nothing(store: Path, tmp_path: Path) -> None:
    (store / "2" / "model.txt").write_text("tre")
    for source, version, says in (
        (f"file://{store}", 5, r"has no version 5 that is whole; there are: 1, 7; .*2: model.txt has 3 of 5 bytes"),
        (f"file://{tmp_path}/nowhere", None, "does not exist"),
        ("models/m", None, "lies on this machine; publish it with `millrace models push models/m m`"),
        ("mlflow:../m", None, "cannot be the name of a registered model"),
    ):
        with pytest.raises(ModelError, match=says):
            pull_model(source, "m", tmp_path / "here", version, options=None)
    (store / "7" / "model.txt").write_text("woox")  # of the same length
    with pytest.raises(ModelError, match=r"file://.*/m version 7/model.txt is damaged"):
        pull_model(f"file://{store}", "m", tmp_path / "here", options=None)
    with pytest.raises(ModelError, match=r"'\.\./m' cannot be a model's name"):
        pull_model(f"file://{store}", "../m", tmp_path / "here", 1, options=None)
    assert not any((tmp_path / "here").rglob("*"))


def test_a_number_is_taken_once(store: Path, tmp_path: Path) -> None:
    pull_model(f"file://{store}", "m", tmp_path / "here", 1, options=None)
    with pytest.raises(ModelError, match="exists, and versions do not change"):
        pull_model(f"file://{store}", "m", tmp_path / "here", 1, options=None)
