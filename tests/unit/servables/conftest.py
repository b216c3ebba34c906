"""Data, folders and exported models that the tests of this room share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from servables.base import LoadOptions
from tests.unit.servables.tiny_models import Mlp

OPTIONS = LoadOptions()


@pytest.fixture(scope="session")
def table() -> tuple[np.ndarray, np.ndarray]:
    """Features FP32 [120, 4] and three classes."""
    x = np.random.default_rng(7).normal(size=(120, 4)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0)


@pytest.fixture(params=[1, 7])
def x(request: pytest.FixtureRequest, table: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """One row, and seven; read-only, as what comes out of a request."""
    rows = table[0][: request.param]
    return np.frombuffer(rows.tobytes(), np.float32).reshape(rows.shape)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "tiny" / "1"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def signature(folder: Path) -> Callable[..., None]:
    """Write `signature.json`."""

    def write(**fields: Any) -> None:
        (folder / "signature.json").write_text(json.dumps(fields))

    return write


@pytest.fixture(scope="session")
def mlp() -> Mlp:
    torch.manual_seed(0)
    return Mlp().eval()


@pytest.fixture(scope="session")
def pt2(mlp: Mlp, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The exported MLP, as the bytes of its file; exporting takes a second."""
    path = tmp_path_factory.mktemp("pt2") / "model.pt2"
    program = torch.export.export(mlp, (torch.zeros(2, 4),), dynamic_shapes={"x": {0: torch.export.Dim("rows")}})
    torch.export.save(program, path)
    return path.read_bytes()
