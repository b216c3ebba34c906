"""Weights in a .safetensors file for a `torch.nn.Module` that `signature.json` names."""

import inspect
from pathlib import Path

from configs.errors import ModelError
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import matching, one_line, only_file
from servables.manifest import read_manifest
from servables.torch_servable import from_module, prepare
from servables.user_class import construct, import_class

NAME = "safetensors"
PATTERNS = ("*.safetensors",)


def matches(folder: Path) -> bool:
    """Whether a .safetensors file lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions) -> Servable:
    """Make the module and fill in its weights, all of them. Raises ModelError."""
    torch = require("torch", "torch")
    safetensors = require("safetensors.torch", "torch")
    prepare(options)
    path = only_file(folder, PATTERNS)
    manifest = read_manifest(folder)
    cls = import_class(folder, manifest)
    if not issubclass(cls, torch.nn.Module):
        raise ModelError(f"{folder}: {manifest.module} is not a torch.nn.Module")
    module = construct(folder, manifest, cls)
    try:
        safetensors.load_model(module, str(path), strict=True)
    except Exception as error:  # safetensors raises its own Rust error, torch a RuntimeError for weights that don't fit
        raise ModelError(f"{path} does not fit {manifest.module}: {one_line(error)}") from error
    names = list(inspect.signature(module.forward).parameters)
    return from_module(folder, module.eval().to(options.device), names, manifest, options.device)
