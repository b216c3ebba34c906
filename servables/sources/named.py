"""The source that a node's `model:` text names."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from configs.places import KEPT
from servables.sources.base import Remote, Source
from servables.sources.fetched import Fetched
from servables.sources.folder import Folder
from servables.sources.mlflow_registry import Registry
from servables.sources.url import Url

FETCHED = KEPT / "fetched"
"""Where versions of remote sources lie, in the root folder."""

_MLFLOW = "mlflow:"


def is_remote(model: str) -> bool:
    """Whether this is no folder of this machine."""
    return model.startswith(_MLFLOW) or "://" in model


def remote_of(model: str) -> Remote:
    """Where the versions of a model come from. Raises ModelError for a name that cannot be one."""
    return Registry(model.removeprefix(_MLFLOW)) if model.startswith(_MLFLOW) else Url(model)


@lru_cache(10_000)  # the names of models may come from clients
def source_of(model: str, root: Path) -> Source:
    """The source of a model; one in each process, which remembers what it was told.

    Args:
        model: a folder, a URL, or `mlflow:<registered model>`.
        root: the folder that relative paths start from; what is fetched lies in it too.

    Raises:
        ModelError: the text names no source.
    """
    if not is_remote(model):
        return Folder(root / model)
    return Fetched(remote_of(model), root / FETCHED / _folder_name(model))


def _folder_name(model: str) -> str:
    """Readable, and another one for every source."""
    readable = re.sub(r"[^\w-]+", "-", model.rpartition("/")[2], flags=re.ASCII).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
