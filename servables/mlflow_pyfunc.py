"""Any model of MLflow's, through its own loader `pyfunc`: it unpickles, so only with `trust: pickle`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ModelError
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import SIGNATURE, one_line
from servables.manifest import Manifest, Specs
from servables.mlmodel import MlModel
from servables.tabular import on_cpu_only
from servables.texts import decoded


class PyfuncServable:
    """A model that takes a table, an array or arrays by name, as its signature says."""

    def __init__(self, predict: Any, described: MlModel, signature: Signature) -> None:
        self._predict, self._described = predict, described
        self.signature = signature

    def __call__(self, rows: Rows) -> Rows:
        """Predict all rows at once; text goes in and comes out as UTF-8."""
        return _named(self._predict(_given(self._described, rows)))

    def close(self) -> None:
        """Drop the model; its memory is freed with the last reference."""
        del self._predict


def load_pyfunc(folder: Path, options: LoadOptions, described: MlModel, manifest: Manifest) -> Servable:
    """Load it. Its outputs are those of `signature.json`, or learnt from one row of zeros. Raises ModelError."""
    flavours = ", ".join(sorted(described.flavours))
    if options.trust != "pickle":
        raise ModelError(
            f"{folder} is a model that only MLflow's own loader opens ({flavours}), and that can run any code; log it "
            "as ONNX (mlflow.onnx.log_model), or set `trust: pickle` if you trust whoever made it"
        )
    on_cpu_only(folder, "mlflow pyfunc", options)
    if not described.inputs:
        raise ModelError(f"{folder} carries no signature; log it with `signature=infer_signature(…)`")
    require("pandas", "mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    pyfunc = require("mlflow.pyfunc", "mlflow")
    # The model's own code, which may import more with any call, must leave its version as it was pushed and signed.
    sys.dont_write_bytecode = True
    try:
        model = pyfunc.load_model(str(folder), suppress_warnings=True)
    except Exception as error:  # whatever its code does
        raise ModelError(f"{folder} does not load in MLflow: {one_line(error)}") from error
    inputs = {name: each.spec for name, each in described.inputs.items()}
    servable = PyfuncServable(model.predict, described, Signature(inputs=inputs))
    outputs = manifest.outputs or _learnt(folder, servable, inputs)
    servable.signature = Signature(inputs=inputs, outputs=outputs)
    return servable


def _learnt(folder: Path, servable: PyfuncServable, inputs: Specs) -> Mapping[str, TensorSpec]:
    rows = {name: _zeros(spec) for name, spec in inputs.items()}
    try:
        found = servable(rows)
        return {name: TensorSpec(datatype=Datatype.of(a), shape=(-1, *a.shape[1:])) for name, a in found.items()}
    except Exception as error:  # the model's own code
        raise ModelError(
            f"{folder}: one row of zeros fails: {one_line(error)}; give its `outputs` in {SIGNATURE}"
        ) from error


def _zeros(spec: TensorSpec) -> np.ndarray:
    fill = b"" if spec.datatype is Datatype.BYTES else 0
    return np.full((1, *(max(size, 1) for size in spec.shape[1:])), fill, spec.datatype.dtype)


def _given(described: MlModel, rows: Rows) -> Any:
    """The rows as MLflow passes them to a model of this signature."""
    arrays = {
        each.name: decoded(name, rows[name]) if each.is_text else rows[name] for name, each in described.inputs.items()
    }
    if described.columns:
        return require("pandas", "mlflow").DataFrame(arrays)
    return arrays.get(None, arrays)


def _named(result: Any) -> Rows:
    """A table's columns, a dictionary's values, or `output`."""
    if hasattr(result, "columns"):
        return {str(name): _encoded(result[name]) for name in result.columns}
    if isinstance(result, Mapping):
        return {str(name): _encoded(values) for name, values in result.items()}
    return {"output": _encoded(result)}


def _encoded(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "OSU":
        return array
    texts = [value if isinstance(value, bytes) else str(value).encode() for value in array.ravel()]
    return np.array(texts, object).reshape(array.shape)
