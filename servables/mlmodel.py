"""`MLmodel`, the description in the folder of a model that MLflow wrote: its flavours, and what it takes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from configs.errors import ModelError
from configs.tensors import Datatype, TensorSpec
from servables.files import SIGNATURE

MLMODEL = "MLmodel"

_COLUMNS = {
    "boolean": Datatype.BOOL,
    "integer": Datatype.INT32,
    "long": Datatype.INT64,
    "float": Datatype.FP32,
    "double": Datatype.FP64,
    "string": Datatype.BYTES,
    "binary": Datatype.BYTES,
}
"""MLflow's types of columns that a tensor holds."""


@dataclass(frozen=True)
class Input:
    """One input of an MLflow model."""

    name: str | None
    """As MLflow has it; None for the only tensor of a model."""
    spec: TensorSpec
    is_text: bool = False
    """Text, not bytes."""


@dataclass(frozen=True)
class MlModel:
    """What an `MLmodel` file says."""

    flavours: Mapping[str, Mapping[str, Any]]
    """Name → what the flavour's writer noted, e.g. which file it is."""
    inputs: Mapping[str, Input]
    """Name for requests → input; empty if the model carries no signature."""
    outputs: Mapping[str, TensorSpec]
    """Its tensors with names."""
    columns: bool
    """Whether it takes a table with named columns, of which each is an input."""


def read_mlmodel(folder: Path) -> MlModel:
    """Read the folder's `MLmodel`. Raises ModelError."""
    path = folder / MLMODEL
    try:
        content = yaml.safe_load(path.read_bytes())
        flavours = {str(name): dict(facts or {}) for name, facts in content["flavors"].items()}
        signature = content.get("signature") or {}
        given = json.loads(signature.get("inputs") or "[]")
        given_out = json.loads(signature.get("outputs") or "[]")
        columns = any("tensor-spec" not in each and each.get("name") is not None for each in given)
        tensors = [each for each in given_out if "tensor-spec" in each and each.get("name")]
        return MlModel(
            flavours,
            _inputs(path, given),
            {each["name"]: _tensor(path, each).spec for each in tensors},
            columns,
        )
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        raise ModelError(f"{path} is no description of a model as MLflow writes it: {error!r:.200}") from error


def _inputs(path: Path, given: list[Any]) -> dict[str, Input]:
    if given and all("tensor-spec" not in each and each.get("name") is None for each in given):
        return {"x": _table(path, given)}
    found: dict[str, Input] = {}
    for each in given:
        made = _tensor(path, each) if "tensor-spec" in each else _column(path, each)
        name = plain_name(made.name or "x")
        if name in found:
            raise ModelError(
                f"{path}: inputs {found[name].name!r} and {made.name!r} would both be {name!r}; rename one"
            )
        found[name] = made
    return found


def plain_name(name: str) -> str:
    """A name that a graph can use: letters, digits and `_`."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "x"
    return f"_{plain}" if plain[0].isdigit() else plain


def _tensor(path: Path, given: Any) -> Input:
    spec = given["tensor-spec"]
    shape = spec["shape"]
    if not shape or shape[0] != -1:
        raise ModelError(f"{path}: a tensor has the shape {shape}; log the model with rows first, as -1")
    dtype = np.dtype(spec["dtype"])
    return Input(
        given.get("name"), TensorSpec(datatype=Datatype.of(np.empty(0, dtype)), shape=shape), dtype.kind == "U"
    )


def _column(path: Path, given: Any) -> Input:
    kind = given["type"]
    if kind not in _COLUMNS:
        raise ModelError(
            f"{path}: column {given.get('name')!r} is of type {kind}, which is no tensor; known are "
            f"{', '.join(_COLUMNS)}; let a node before it make numbers of it, or give the inputs in {SIGNATURE}"
        )
    return Input(given.get("name"), TensorSpec(datatype=_COLUMNS[kind], shape=(-1,)), kind == "string")


def _table(path: Path, given: list[Any]) -> Input:
    """Columns without names: all features together."""
    kinds = {_column(path, each).spec.datatype for each in given}
    if len(kinds) != 1:
        raise ModelError(f"{path}: columns without names must all have one type; log the model with named columns")
    return Input(None, TensorSpec(datatype=kinds.pop(), shape=(-1, len(given))))
