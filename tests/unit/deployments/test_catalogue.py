"""Servables whose versions are fetched: keys, contents, and the version that an alias names."""

from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import MissingExtra, ModelError
from configs.graph import ModelNode
from configs.node_options import Batch
from configs.versions import Versions
from deployments.catalogue import Served
from deployments.stage import StageSpec
from graphs.flat import FlatNode
from servables.push import push_model
from servables.sources.named import FETCHED


def served(model: str, root: Path, placed: bool = False, **fields: object) -> Served:
    node = FlatNode("n", ModelNode.model_validate({"model": model, "inputs": {"x": "x"}, **fields}), {})
    stage = StageSpec("g", node, root, Batch()) if placed else None  # type: ignore[call-arg]
    return Served("g", node, root, stage)


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "model.txt").write_text("tree")
    push_model(tmp_path / "model.txt", "m", tmp_path / "store", 4, options=None)
    return f"file://{tmp_path}/store/m"


@pytest.mark.parametrize("placed", [False, True])
def test_a_version_is_fetched_and_verified_by_its_key(url: str, tmp_path: Path, placed: bool) -> None:
    each = served(url, tmp_path, placed)
    (key,) = each.published(0).keys
    each.fetch(key)
    each.verify(key)
    (model,) = (tmp_path / FETCHED).iterdir()
    (version,) = model.iterdir()
    assert version.name == f"4-{each.content_of(key)}"
    (version / "model.txt").write_text("teer")
    with pytest.raises(ModelError, match="is damaged"):
        each.verify(key)
    each.verify(key)  # what was damaged is gone, so it was fetched again


def test_a_version_that_is_not_signed_is_kept_but_not_held(url: str, tmp_path: Path) -> None:
    each = replace(served(url, tmp_path), keys=("a key",))
    (key,) = each.published(0).keys
    with pytest.raises(ModelError, match="is not signed"):
        each.verify(key)
    assert each.source is not None
    (folder,) = (tmp_path / FETCHED).glob("*/4-*")  # another copy would be no better
    each.source.forget(4, each.content_of(key))
    assert not folder.exists()


def test_nothing_is_held_where_no_signature_can_be_read(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_folder: Path, _keys: tuple[str, ...]) -> None:
        raise MissingExtra("run: pip install")

    monkeypatch.setattr("deployments.catalogue.check_signature", missing)
    each = replace(served(url, tmp_path), keys=("a key",))
    (key,) = each.published(0).keys
    with pytest.raises(MissingExtra) as raised:
        each.verify(key)
    assert each.source is not None
    each.source.forget(4, each.content_of(key))
    assert not list((tmp_path / FETCHED).glob("*/4-*"))
    assert raised.tb is not None  # whose frames would have kept the lock


def test_the_version_with_an_alias(tmp_path: Path) -> None:
    each = served("mlflow:m", tmp_path, versions={"alias": "champion", "keep": 2})
    assert each.policy_now({"champion": 3, "other": 9}, 1) == Versions(only=[3], keep=2)  # type: ignore[call-arg]
    for aliases in ({"other": 9}, None):  # the alias is gone, or the registry is away
        assert each.policy_now(aliases, 1).only == [1]
        assert each.policy_now(aliases, None) == each.policy
    other = served("m", tmp_path, versions={"latest": 2})
    assert other.policy_now({"champion": 3}, 1) == other.policy


def test_two_rules_are_refused() -> None:
    with pytest.raises(ValueError, match="give one of latest, all, only and alias; this has only and alias"):
        Versions(only=[1], alias="champion")  # type: ignore[call-arg]
