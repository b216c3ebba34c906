"""Import the class that a manifest names, and make an instance of it."""

import importlib
from pathlib import Path
from typing import Any

from configs.errors import ModelError
from servables.files import SIGNATURE, one_line
from servables.manifest import Manifest


def import_class(folder: Path, manifest: Manifest) -> type:
    """The class that `module` of the manifest names. Raises ModelError if there is none or it cannot be imported."""
    if manifest.module is None:
        raise ModelError(f'{folder}: {SIGNATURE} must name the class, as "module": "package.module:Class"')
    module_name, _, name = manifest.module.partition(":")
    try:
        target: Any = importlib.import_module(module_name)
        for part in name.split("."):
            target = getattr(target, part)
    except Exception as error:  # user code may raise anything at import
        raise ModelError(f"{folder}: cannot import {manifest.module}: {one_line(error)}") from error
    if not isinstance(target, type):
        raise ModelError(f"{folder}: {manifest.module} is a {type(target).__name__}, not a class")
    return target


def construct(folder: Path, manifest: Manifest, cls: type, /, **more: Any) -> Any:
    """An instance, made with the manifest's `kwargs` and `more`. Raises ModelError if that fails."""
    try:
        return cls(**manifest.kwargs, **more)
    except Exception as error:  # user code
        raise ModelError(
            f"{folder}: {manifest.module} cannot be made with kwargs {manifest.kwargs}: {one_line(error)}"
        ) from error
