"""Load the model of a version folder: find its format by its files, and call that format's adapter."""

from pathlib import Path
from typing import Protocol

from configs.errors import MillraceError, ModelError
from servables.base import Adapter, LoadOptions, Servable
from servables.files import one_line, visible
from servables.formats import (
    index,
    lightgbm,
    lookup,
    mlflow_model,
    onnx,
    python_class,
    safetensors_module,
    sklearn,
    torch_export,
    torchscript,
    xgboost,
)
from servables.signing import check_signature
from servables.versions import verify


class Format(Adapter, Protocol):
    """An adapter that also says which files it looks for."""

    @property
    def PATTERNS(self) -> tuple[str, ...]:  # noqa: N802
        """File name patterns, one of which the model's file matches."""
        ...


_ADAPTERS: tuple[Format, ...] = (
    torch_export,
    torchscript,
    safetensors_module,
    onnx,
    sklearn,
    xgboost,
    lightgbm,
    python_class,
    mlflow_model,
    lookup,
    index,
)
FORMATS: dict[str, Format] = {adapter.NAME: adapter for adapter in _ADAPTERS}
"""Every format by its name."""


def load_servable(folder: Path, options: LoadOptions, format: str | None = None) -> Servable:
    """Load the version in `folder`, as `format` or as the format that its files show.

    A version that carries digests is compared with them first, which reads all its files (see `check_digests`).
    Raises ModelError (folder and reason in one line) or MissingExtra.
    """
    verify(folder)
    if options.keys:
        check_signature(folder, options.keys)
    adapter = _named(format) if format is not None else detect(folder)
    try:
        return adapter.load(folder, options)
    except MillraceError:
        raise
    except Exception as error:  # whatever a framework raises for a damaged file becomes the one error of this room
        raise ModelError(f"{folder} does not load as {adapter.NAME}: {one_line(error)}") from error


def detect(folder: Path) -> Format:
    """The format whose files lie in the folder. Raises ModelError if none or several match."""
    if mlflow_model.matches(folder):  # the file that it names is one of another format
        return mlflow_model
    found = [adapter for adapter in _ADAPTERS if adapter.matches(folder)]
    if len(found) == 1:
        return found[0]
    files = ", ".join(path.name for path in visible(folder)) or "no files"
    if found:
        names = " and ".join(adapter.NAME for adapter in found)
        raise ModelError(f"{folder} holds {files}: that could be {names}; say which one with `format:`")
    known = ", ".join(f"{name} ({' or '.join(adapter.PATTERNS)})" for name, adapter in FORMATS.items())
    raise ModelError(f"{folder} holds {files}: no model of a known format; known are {known}")


def _named(name: str) -> Format:
    try:
        return FORMATS[name]
    except KeyError:
        raise ModelError(f"format {name!r} is unknown; known are {', '.join(FORMATS)}") from None
