"""Versions of a registered model in an MLflow registry: `mlflow:iris`."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from configs.errors import MillraceError, ModelError
from servables.extras import require
from servables.files import one_line
from servables.sources.base import Progress, Published, safe_path, without_secrets

REGISTRY, TRACKING = "MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI"
"""MLflow's own environment variables; each stands in for the other."""

_SQLITE = "sqlite:///"


class Registry:
    """A registered model; its registry is the one that MLflow's environment variables name.

    Args:
        name: of the registered model.
    """

    def __init__(self, name: str) -> None:
        if not name or not name.isprintable() or any(sign in name for sign in "/\\:@'\"`") or name.strip(". ") != name:
            raise ModelError(f"mlflow:{name}: {name!r} cannot be the name of a registered model; write `mlflow:<name>`")
        self._name = name
        self.place = f"mlflow:{name}"

    def prepare(self) -> None:
        """Import MLflow, which takes seconds. Raises MissingExtra."""
        _mlflow()

    def published(self, now: float) -> Published:
        """All versions that are ready, and all aliases. Raises ModelError: the registry is away, or lacks the model."""
        versions, notes = {}, []
        with self._errors():
            client = _client()
            aliases = client.get_registered_model(self._name).aliases
            for found in _all_versions(client, self._name):
                if found.status == "READY":
                    versions[int(found.version)] = _fingerprint(found)
                else:
                    why = found.status_message or "its writer has not ended"
                    notes.append(f"{self.place} version {found.version} is {found.status}: {why}")
        return Published(versions, notes, {alias: int(number) for alias, number in aliases.items()})

    def download(self, number: int, folder: Path, progress: Progress) -> None:
        """Copy the version's artifacts. Raises ModelError."""
        with self._errors():
            uri = _client().get_model_version_download_uri(self._name, str(number))
            module = require("mlflow.store.artifact.artifact_repository_registry", "mlflow")
            artifacts = module.get_artifact_repository(uri, *_uris())
            files = list(_files(artifacts, f"{self.place} version {number}"))
            total = sum(file.file_size or 0 for file in files)
            for file in files:
                artifacts.download_artifacts(file.path, str(folder))
                progress(file.file_size or 0, total)
            if not files:
                raise ModelError(f"{self.place} version {number} has no artifacts in {without_secrets(uri)}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MillraceError:
            raise
        except Exception as error:  # of MLflow, requests, SQLAlchemy, or the store of the artifacts
            why = without_secrets(one_line(error))
            raise ModelError(f"{self.place}: the registry {_place()} does not give it: {why}") from error


def _uris() -> tuple[str, str]:
    """Of tracking and registry. Raises ModelError if neither is set: MLflow would make a database here."""
    tracking = os.environ.get(TRACKING) or os.environ.get(REGISTRY)
    if tracking is None:
        raise ModelError(
            f"no MLflow registry is named: set {TRACKING} or {REGISTRY}, in the serve config under "
            "`runtime_env: {env_vars: …}`"
        )
    registry = os.environ.get(REGISTRY) or tracking
    for uri in (tracking, registry):
        path = uri.removeprefix(_SQLITE).partition("?")[0]
        if uri.startswith(_SQLITE) and not Path(path).exists():  # MLflow would make it
            raise ModelError(f"the MLflow registry {uri} has no file {path}")
    return tracking, registry


def _place() -> str:
    return without_secrets(os.environ.get(REGISTRY) or os.environ.get(TRACKING) or "")


def _client() -> Any:
    tracking, registry = _uris()
    return _mlflow().MlflowClient(tracking, registry)


def _mlflow() -> ModuleType:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    return require("mlflow.tracking", "mlflow")


def _all_versions(client: Any, name: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", page_token=token)
        yield from page
        if not (token := page.token):
            return


def _fingerprint(version: Any) -> str:
    """Of what was registered, and when: an alias, a tag or a description says nothing about the content."""
    facts = (version.name, version.version, version.run_id, version.source, version.creation_timestamp)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _files(artifacts: Any, place: str, folder: str | None = None) -> Iterator[Any]:
    for found in artifacts.list_artifacts(folder):
        path = safe_path(place, found.path)
        if folder is not None and not path.startswith(f"{folder}/"):
            raise ModelError(f"{place}: {path} is said to lie in {folder}")
        if found.is_dir:
            yield from _files(artifacts, place, path)
        else:
            yield found
