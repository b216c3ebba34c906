"""Models as MLflow writes them: its `MLmodel` says which file is the model, and what it takes."""

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from configs.errors import ModelError
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import one_line
from servables.formats import lightgbm, onnx, sklearn, torch_export, xgboost
from servables.manifest import Manifest, read_manifest
from servables.mlflow_pyfunc import load_pyfunc
from servables.mlmodel import MLMODEL, MlModel, read_mlmodel
from servables.torch_servable import from_module, prepare

NAME = "mlflow"
PATTERNS = (MLMODEL,)

_OURS: tuple[tuple[str, ModuleType], ...] = (
    ("onnx", onnx),
    ("xgboost", xgboost),
    ("lightgbm", lightgbm),
    ("sklearn", sklearn),
    # Estimators of these libraries that MLflow wrote as scikit-learn's.
    ("xgboost", sklearn),
    ("lightgbm", sklearn),
)
"""Flavour, and the adapter that reads its file without MLflow if the file is one of the adapter's."""


class Columns:
    """A model of tables that gets each column as an input of its own.

    Args:
        model: takes all columns as one array.
        specs: of the columns, in the model's order.
    """

    def __init__(self, model: Servable, specs: dict[str, TensorSpec]) -> None:
        self._model, self._names = model, list(specs)
        ((self._input, spec),) = (model.signature.inputs or {}).items()
        self._dtype = spec.datatype.dtype
        self.signature = Signature(inputs=specs, outputs=model.signature.outputs)

    def __call__(self, rows: Rows) -> Rows:
        """Put the columns side by side."""
        return self._model({self._input: np.stack([rows[name] for name in self._names], 1).astype(self._dtype)})

    def close(self) -> None:
        """Close the model."""
        self._model.close()


def matches(folder: Path) -> bool:
    """Whether an MLmodel file lies in the folder."""
    return (folder / MLMODEL).is_file()


def load(folder: Path, options: LoadOptions) -> Servable:
    """Load the model: ONNX, XGBoost, LightGBM, skops and exported PyTorch as their formats do, the rest by unpickling.

    Raises ModelError, also for what would be unpickled without `trust: pickle`.
    """
    described = read_mlmodel(folder)
    manifest = read_manifest(folder)
    for flavour, adapter in _OURS:
        if flavour in described.flavours and adapter.matches(folder):
            if adapter is onnx:
                return onnx.load(folder, options)
            if not _has_text(described, manifest):
                return _tabular(adapter, folder, options, described, manifest)
    if "pytorch" in described.flavours:
        return _pytorch(folder, options, described, manifest)
    return load_pyfunc(folder, options, described, manifest)


def _has_text(described: MlModel, manifest: Manifest) -> bool:
    """Whether the model needs a table of several types, which only MLflow's own loader makes."""
    return manifest.inputs is None and any(each.spec.datatype is Datatype.BYTES for each in described.inputs.values())


def _tabular(
    adapter: ModuleType, folder: Path, options: LoadOptions, described: MlModel, manifest: Manifest
) -> Servable:
    specs = {name: each.spec for name, each in described.inputs.items()}
    if manifest.inputs is not None or not specs:
        return adapter.load(folder, options)  # type: ignore[no-any-return]
    if not described.columns:
        return adapter.load(folder, options, manifest.model_copy(update={"inputs": specs}))  # type: ignore[no-any-return]
    model = adapter.load(folder, options, manifest)
    features = next(iter(model.signature.inputs.values())).shape[-1]
    if features != len(specs):
        raise ModelError(f"{folder}: {MLMODEL} gives {len(specs)} columns, but the model has {features} features")
    return Columns(model, specs)


def _pytorch(folder: Path, options: LoadOptions, described: MlModel, manifest: Manifest) -> Servable:
    data = folder / "data"  # MLflow's loader knows no other place
    if data.is_dir() and torch_export.matches(data):
        return torch_export.load(data, options)
    torch = require("torch", "torch")
    if options.trust != "pickle":
        raise ModelError(
            f"{folder} is a PyTorch model that MLflow pickled, which can run any code when it is opened; log it with "
            "`mlflow.pytorch.log_model(…, serialization_format='pt2', input_example=…)`, or set `trust: pickle` if you "
            "trust whoever made it"
        )
    prepare(options)
    path = data / "model.pth"
    try:
        module = torch.load(path, map_location=options.device, weights_only=False)
    except Exception as error:  # whatever its pickle does
        raise ModelError(f"{path} does not load: {one_line(error)}") from error
    inputs = {name: each.spec for name, each in described.inputs.items()} or None
    sides = {"inputs": manifest.inputs or inputs, "outputs": manifest.outputs or described.outputs or None}
    return _module(folder, module, manifest.model_copy(update=sides), options.device)


def _module(folder: Path, module: Any, manifest: Manifest, device: str) -> Servable:
    names = list(inspect.signature(module.forward).parameters)
    return from_module(folder, module.eval().to(device), names, manifest, device)
