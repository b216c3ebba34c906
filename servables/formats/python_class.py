"""Any Python class that `signature.json` names: it declares `inputs` and `outputs`, and is called with arrays."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from configs.errors import ModelError
from configs.tensors import Rows, Signature
from servables.base import LoadOptions, Servable
from servables.files import SIGNATURE, matching
from servables.manifest import RowSpec, Specs, read_manifest, resolve
from servables.memory import Memory
from servables.user_class import construct, import_class

NAME = "python"
PATTERNS = (SIGNATURE,)

_SPECS: TypeAdapter[Specs] = TypeAdapter(dict[str, RowSpec])


class PythonServable:
    """An instance of a user's class, called with named arrays."""

    def __init__(self, instance: Any, signature: Signature) -> None:
        assert signature.outputs is not None
        self.signature = signature
        self._instance = instance
        self._outputs = list(signature.outputs)

    def __call__(self, rows: Rows) -> Rows:
        """Call the instance; an array that is not in a dictionary is its only output, a tuple all in order."""
        found = self._instance(**rows)
        if isinstance(found, dict):
            return found
        arrays = (found,) if isinstance(found, np.ndarray) else found
        return dict(zip(self._outputs, arrays, strict=True))

    def close(self) -> None:
        """Call the instance's `close`, if it has one."""
        if hasattr(self._instance, "close"):
            self._instance.close()


class SizedServable(PythonServable):
    """One whose instance knows how many bytes of the host's memory it takes."""

    def memory(self) -> Memory:
        """As the instance's own `memory()` says."""
        return Memory(host=int(self._instance.memory()))


def matches(folder: Path) -> bool:
    """Whether `signature.json` names a class and no weights for it lie in the folder."""
    return (
        (folder / SIGNATURE).is_file()
        and not matching(folder, ("*.safetensors",))
        and bool(read_manifest(folder).module)
    )


def load(folder: Path, options: LoadOptions) -> Servable:
    """Make the instance; a parameter `folder` of its constructor gets the version's folder. Raises ModelError.

    The class itself must declare `inputs` and `outputs`: so a file can choose among classes that were written to be
    served, and cannot have `subprocess.Popen` or the like constructed with arguments of its choice.
    """
    manifest = read_manifest(folder)
    cls: Any = import_class(folder, manifest)
    if not all(isinstance(getattr(cls, side, None), dict) for side in ("inputs", "outputs")):
        raise ModelError(f'{folder}: {manifest.module} must declare inputs = {{"x": ("FP32", [-1, 10])}} and outputs')
    if not inspect.isfunction(getattr(cls, "__call__", None)) or inspect.iscoroutinefunction(cls.__call__):  # noqa: B004
        raise ModelError(f"{folder}: {manifest.module} needs a plain `def __call__`; coroutines go into a `call` node")
    wants_folder = "folder" in inspect.signature(cls).parameters and "folder" not in manifest.kwargs
    instance = construct(folder, manifest, cls, **({"folder": folder} if wants_folder else {}))
    inputs, outputs = (_declared(folder, manifest.module, instance, side) for side in ("inputs", "outputs"))
    made = SizedServable if callable(getattr(instance, "memory", None)) else PythonServable
    return made(instance, resolve(folder, manifest, inputs, outputs))


def _declared(folder: Path, path: str | None, instance: Any, side: str) -> Specs:
    try:
        return _SPECS.validate_python(getattr(instance, side))
    except ValidationError as error:
        raise ModelError(f"{folder}: {path}.{side}: {error.errors()[0]['msg']}") from error
