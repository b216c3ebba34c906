"""Call a model of tables (scikit-learn, XGBoost, LightGBM) with one array of features."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np

from configs.errors import ModelError
from configs.tensors import Datatype, Rows, Signature, TensorSpec
from servables.base import LoadOptions
from servables.files import SIGNATURE
from servables.manifest import Manifest, resolve
from servables.memory import Memory, files_memory

Predict = Callable[[np.ndarray], Rows]
"""Features [rows, features] → named outputs."""


class TabularServable:
    """A model with one input; values of more dimensions are flattened row by row."""

    def __init__(self, predict: Predict, signature: Signature, name: str, flatten: bool, memory: Memory) -> None:
        self.signature = signature
        self._memory = memory
        self._predict = predict
        self._name = name
        self._flatten = flatten

    def __call__(self, rows: Rows) -> Rows:
        """Predict all rows at once."""
        x = rows[self._name]
        return self._predict(x.reshape(len(x), -1) if self._flatten and x.ndim != 2 else x)

    def memory(self) -> Memory:
        """Bytes of the trees, vectors or matrices."""
        return self._memory

    def close(self) -> None:
        """Drop the model; its memory is freed with the last reference."""
        del self._predict


def build(
    folder: Path, manifest: Manifest, predict: Predict, features: int | None, memory: Memory | None = None
) -> TabularServable:
    """A servable over `predict`; its outputs are learnt from one row of zeros. It takes `memory`, or as its files.

    The input is `x`, FP32 [-1, features], unless the manifest names it. Raises ModelError where they disagree.
    """
    name, spec = _input(folder, manifest, features)
    flatten = spec.datatype is not Datatype.BYTES
    servable = TabularServable(predict, Signature(), name, flatten, memory or files_memory(folder))
    found = servable({name: _row(spec)})
    outputs = {key: TensorSpec(datatype=Datatype.of(a), shape=(-1, *a.shape[1:])) for key, a in found.items()}
    servable.signature = resolve(folder, manifest, {name: spec}, outputs)
    return servable


def classes(probs: np.ndarray) -> Rows:
    """`probs` FP32 [-1, classes] and `label` INT64, from probabilities per class, or of the second of two classes."""
    if probs.ndim == 1:
        label = (probs > 0.5).astype(np.int64)
        probs = np.stack([1 - probs, probs], axis=1)
    else:
        label = probs.argmax(axis=1)
    return {"label": label, "probs": probs.astype(np.float32, copy=False)}


def on_cpu_only(folder: Path, name: str, options: LoadOptions) -> None:
    """Raises ModelError if a GPU was asked for: these formats would leave it idle."""
    if options.device != "cpu":
        raise ModelError(
            f"{folder}: {name} models run on the CPU, not on {options.device}; remove `gpus` from the node"
        )


def _input(folder: Path, manifest: Manifest, features: int | None) -> tuple[str, TensorSpec]:
    if manifest.inputs is None:
        if features is None:
            raise ModelError(f"{folder}: the model does not say its number of features; give `inputs` in {SIGNATURE}")
        return "x", TensorSpec(datatype=Datatype.FP32, shape=(-1, features))
    (name, spec), *more = manifest.inputs.items()
    if more:
        raise ModelError(
            f"{folder}: {SIGNATURE} gives {len(more) + 1} inputs; this format has one, all features together"
        )
    width = prod(spec.shape[1:])
    if features is not None and width != features:
        raise ModelError(
            f"{folder}: {SIGNATURE} gives {name} {width} values a row, but the model has {features} features"
        )
    return name, spec


def _row(spec: TensorSpec) -> np.ndarray:
    fill = b"" if spec.datatype is Datatype.BYTES else 0
    return np.full((1, *(max(size, 1) for size in spec.shape[1:])), fill, spec.datatype.dtype)
