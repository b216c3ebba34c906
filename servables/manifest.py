"""`signature.json` of a version folder: what the artifact itself does not say about inputs and outputs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from configs.errors import ModelError
from configs.tensors import Signature, TensorSpec
from servables.files import SIGNATURE

Specs = Mapping[str, TensorSpec]


def _by_rows(spec: TensorSpec) -> TensorSpec:
    if spec.shape[0] != -1:
        raise ValueError(f"shape {list(spec.shape)}: the first dimension is the rows; write -1")
    return spec


RowSpec = Annotated[TensorSpec, AfterValidator(_by_rows)]


class Manifest(BaseModel):
    """Content of `signature.json`. Every field is optional; which ones a format needs is the format's matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: dict[str, RowSpec] | None = Field(None, min_length=1)
    """Input name → datatype and shape."""
    outputs: dict[str, RowSpec] | None = Field(None, min_length=1)
    """Output name → datatype and shape, in the order in which the model returns them."""
    module: str | None = Field(None, pattern=r"^[a-zA-Z_][\w.]*:[a-zA-Z_][\w.]*$")
    """Import path `package.module:Class` of a module that takes weights, or of a Python class."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of that class."""


def read_manifest(folder: Path) -> Manifest:
    """The folder's `signature.json`; an empty manifest if it has none. Raises ModelError naming each problem."""
    path = folder / SIGNATURE
    if not path.exists():
        return Manifest()
    try:
        return Manifest.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'content'}: {e['msg']}" for e in error.errors())
        raise ModelError(f"{path}: {problems}") from error
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} is not readable JSON: {error}") from error


def resolve(folder: Path, manifest: Manifest, inputs: Specs | None, outputs: Specs | None) -> Signature:
    """The signature from what the artifact says (None: nothing) and the manifest.

    Raises ModelError if neither says it, or if they disagree.
    """
    return Signature(
        inputs=_side(folder, "inputs", manifest.inputs, inputs),
        outputs=_side(folder, "outputs", manifest.outputs, outputs),
    )


def _side(folder: Path, side: str, written: Specs | None, found: Specs | None) -> Specs:
    if written is None and found is None:
        example = '{"<name>": {"datatype": "FP32", "shape": [-1, 10]}}'
        raise ModelError(f'{folder}: the model does not say its {side}; add "{side}": {example} to {SIGNATURE}')
    if written is None or found is None:
        return written if found is None else found  # type: ignore[return-value]
    if set(written) != set(found) or not all(found[name].fits(spec) for name, spec in written.items()):
        raise ModelError(f"{folder}: {SIGNATURE} gives {side} {_text(written)}, but the model has {_text(found)}")
    return written


def _text(specs: Specs) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in specs.items())
