"""Find which version of a model lies in its folder: `models/<name>/<version>/…`."""

import re
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ModelError
from servables.files import visible

_NUMBER = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True)
class Version:
    """One version of a model: `path` is `<model folder>/<number>`."""

    name: str
    number: int
    path: Path


def find_version(model_dir: Path, version: int | None = None) -> Version:
    """The version `version` of the model in `model_dir`, or the newest: the folder with the greatest number.

    Names that are not plain numbers (hidden, temporary, `07`) are no versions.
    Raises ModelError if there is no such version or its folder is empty.
    """
    numbers = _numbers(model_dir)
    if version is None and not numbers:
        raise ModelError(f"{model_dir} holds no version; put one in {model_dir / '1'}/")
    number = max(numbers) if version is None else version
    path = model_dir / str(number)
    if number not in numbers:
        have = ", ".join(map(str, sorted(numbers))) or "none"
        raise ModelError(f"{path} is not a folder; versions of {model_dir}: {have}")
    if not visible(path):
        raise ModelError(f"{path} is empty; put the model's files in it, or remove it")
    return Version(model_dir.resolve().name, number, path)


def _numbers(model_dir: Path) -> set[int]:
    if not model_dir.exists():
        raise ModelError(f"{model_dir} does not exist; put a version in {model_dir / '1'}/")
    if not model_dir.is_dir():
        raise ModelError(f"{model_dir} is a file, not a model's folder; put it in a folder, as <model>/1/<file>")
    return {int(path.name) for path in model_dir.iterdir() if _NUMBER.fullmatch(path.name) and path.is_dir()}
