"""A real MLflow registry in a SQLite file: versions, aliases, artifacts, and what a hostile or broken one may do."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs.errors import MissingExtra, ModelError
from servables.extras import require
from servables.sources.base import Published
from servables.sources.fetched import Fetched
from servables.sources.mlflow_registry import Registry

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry without models; MLflow takes seconds to make its tables."""
    path = tmp_path_factory.mktemp("mlflow") / "registry.db"
    mlflow.MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_registered_models()
    return path


class Registered:
    """Registers versions of the model `iris`."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri
        self.client = mlflow.MlflowClient(uri, uri)
        self.client.create_registered_model("iris")

    def add(self, text: str = "tree") -> None:
        """The next version, with a file in a folder."""
        source = self.folder / f"artifacts-{time.monotonic_ns()}"
        (source / "data").mkdir(parents=True)
        (source / "MLmodel").write_text("flavors: {}")
        (source / "data" / "model.txt").write_text(text)
        self.client.create_model_version("iris", str(source))

    def alias(self, name: str, number: int) -> None:
        self.client.set_registered_model_alias("iris", name, str(number))


@pytest.fixture
def registry(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registered]:
    """With the environment of a process that serves from it."""
    path = tmp_path / "registry.db"
    shutil.copy(empty, path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    yield Registered(tmp_path, f"sqlite:///{path}")
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlruns").exists()


def published() -> Published:
    return Registry("iris").published(time.time())


def test_versions_and_aliases(registry: Registered) -> None:
    for _ in range(3):
        registry.add()
    registry.alias("champion", 1)
    before = published()
    assert sorted(before.versions) == [1, 2, 3]
    assert len(set(before.versions.values())) == 3
    assert before.aliases == {"champion": 1}
    registry.alias("champion", 3)
    registry.client.delete_model_version("iris", "2")
    after = published()
    assert sorted(after.versions) == [1, 3]
    assert after.versions[3] == before.versions[3]  # an alias that moves makes no other version
    assert after.number_of("champion") == 3
    with pytest.raises(ModelError, match=r"no version has the alias 'challenger'; there are: champion"):
        after.number_of("challenger")


def test_a_version_that_is_registered_again_is_another_one(registry: Registered) -> None:
    registry.add()
    before = published()
    registry.client.delete_registered_model("iris")
    registry.client.create_registered_model("iris")
    registry.add()
    assert published().versions[1] != before.versions[1]


def test_artifacts_are_fetched_with_their_folders(registry: Registered, tmp_path: Path) -> None:
    registry.add("tree of version 1")
    done: list[tuple[int, int]] = []
    (tmp_path / "pulled").mkdir()
    Registry("iris").download(1, tmp_path / "pulled", lambda *step: done.append(step))
    assert (tmp_path / "pulled" / "data" / "model.txt").read_text() == "tree of version 1"
    assert sum(size for size, _ in done) == done[0][1] == 28
    version = Fetched(Registry("iris"), tmp_path / "cache").local(1)
    assert (version.path / "digests.json").exists()
    version.release()


def test_what_is_still_registering_does_not_count(registry: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.add()
    page = registry.client.search_model_versions("name='iris'")
    page[0]._status = "PENDING_REGISTRATION"
    monkeypatch.setattr(mlflow.tracking.MlflowClient, "search_model_versions", lambda *_args, **_more: page)
    found = published()
    assert found.versions == {}
    assert found.notes == ["mlflow:iris version 1 is PENDING_REGISTRATION: its writer has not ended"]


def test_a_model_that_is_not_registered(registry: Registered) -> None:
    with pytest.raises(ModelError, match=r"mlflow:nope: the registry sqlite:.* does not give it: .*nope not found"):
        Registry("nope").published(0)


def test_a_registry_that_is_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:password@127.0.0.1:9")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    with pytest.raises(ModelError, match=r"the registry http://…@127.0.0.1:9 does not give it") as caught:
        Registry("iris").published(0)
    assert "password" not in caught.value.message
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"sqlite:///{tmp_path}/typo.db")
    with pytest.raises(ModelError, match="has no file"):
        Registry("iris").published(0)
    assert list(tmp_path.iterdir()) == []


def test_no_registry_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelError, match="set MLFLOW_TRACKING_URI or MLFLOW_REGISTRY_URI, in the serve config"):
        Registry("iris").published(0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "data/../../x"])
def test_artifacts_that_lead_out_are_not_copied(
    path: str, registry: Registered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add()
    artifacts: Any = SimpleNamespace(list_artifacts=lambda _f: [SimpleNamespace(path=path, is_dir=False, file_size=1)])
    module = require("mlflow.store.artifact.artifact_repository_registry", "mlflow")
    monkeypatch.setattr(module, "get_artifact_repository", lambda *_uris: artifacts)
    with pytest.raises(ModelError, match="leads out of its folder"):
        Fetched(Registry("iris"), tmp_path / "cache").local(1)
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_the_library(registry: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow.tracking", None)
    with pytest.raises(MissingExtra, match=r"millrace\[mlflow\]"):
        published()
