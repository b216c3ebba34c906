"""An MLflow registry in a SQLite file, with a model of two versions and an alias that names one of them."""

import os
from pathlib import Path

from benchmarks.versions.models import ALIAS, ALIASED, write_numbered
from servables.extras import require
from servables.sources.mlflow_registry import TRACKING

NUMBERS = (1, 2)


class Registry:
    """From then on servers that this process starts find it.

    Args:
        folder: where its files are.

    Raises:
        MissingExtra: MLflow is not installed.
    """

    def __init__(self, folder: Path) -> None:
        uri = f"sqlite:///{folder / 'registry.db'}"
        os.environ[TRACKING] = uri
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._client = require("mlflow.tracking", "mlflow").MlflowClient(uri, uri)
        self._client.create_registered_model(ALIASED)
        for number in NUMBERS:
            artifacts = folder / f"{ALIASED}-{number}"
            artifacts.mkdir()
            write_numbered(artifacts, number)
            self._client.create_model_version(ALIASED, str(artifacts))
        self.point_to(NUMBERS[0])

    def point_to(self, number: int) -> None:
        """Have the alias name this version."""
        self._client.set_registered_model_alias(ALIASED, ALIAS, str(number))
