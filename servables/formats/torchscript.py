"""TorchScript archives (`torch.jit.save`): .pt or .torchscript, with `signature.json` beside it."""

import warnings
from pathlib import Path
from typing import Any

from configs.errors import ModelError
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import matching, one_line, only_file
from servables.manifest import read_manifest
from servables.torch_servable import from_module, prepare

NAME = "torchscript"
PATTERNS = ("*.torchscript", "*.pt")


def matches(folder: Path) -> bool:
    """Whether a TorchScript file lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions) -> Servable:
    """Load the archive; TorchScript knows its inputs' names, `signature.json` says the rest. Raises ModelError."""
    prepare(options)
    module = _read(only_file(folder, PATTERNS), options.device)
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    return from_module(folder, module.eval(), names, read_manifest(folder), options.device)


def _read(path: Path, device: str) -> Any:
    jit = require("torch.jit", "torch")
    try:
        with warnings.catch_warnings():  # PyTorch 2.13 deprecates TorchScript; whoever serves a file can't change it
            warnings.simplefilter("ignore", DeprecationWarning)
            return jit.load(str(path), map_location=device)
    except (RuntimeError, ValueError) as error:
        remedy = "weights saved by torch.save belong in a .safetensors file"
        raise ModelError(f"{path} is not a TorchScript archive ({remedy}): {one_line(error)}") from error
