"""Find which versions of a model lie in its folder: `models/<name>/<version>/…`."""

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs.errors import ModelError
from configs.log import LOGGER
from servables.files import TEMPORARY
from servables.versions import Judgement, State, judge, verify

ROOT = Path("models")
"""Where models lie unless one says otherwise."""
PUSHING = ".push-"
"""Start of the names of folders that a push is writing."""
GREATEST = 2**63 - 1
"""The greatest version number: TensorFlow Serving's are 64 bits wide."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_NAME = re.compile(r"[a-zA-Z0-9][\w.-]{0,127}", re.ASCII)

logger = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Version:
    """One version of a model: `path` is `<model folder>/<number>`."""

    name: str
    number: int
    path: Path


@dataclass(frozen=True)
class Found:
    """What lies in a model's folder as a version, whole or not."""

    model: str
    path: Path
    number: int | None
    """None for a folder under a temporary name, which may become a version."""
    judgement: Judgement


def find_version(
    model_dir: Path,
    version: int | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Version:
    """The version `version` of the model in `model_dir`, or the newest: the greatest number that is whole.

    What is not whole is passed over with a warning. If the newest was written without digests a moment ago, this waits
    until it is quiet, at most `QUIET_S`. Names that are not plain numbers (hidden, temporary, `07`) are no versions.
    A version that is asked for by its number need not be quiet.
    Raises ModelError if there is no such version or if it is not whole.
    """
    found = scan(model_dir, clock())
    if version is not None:
        return _fixed(model_dir, version, found)
    pending = next((each for each in found if each.judgement.state is not State.BROKEN), None)
    if pending is not None and pending.judgement.state is State.WAITING:
        logger.warning("%s; waiting for that (`millrace models push` needs no waiting)", pending.judgement.reason)
        sleep(pending.judgement.quiet_in_s)
        found = scan(model_dir, clock())
    return _newest(model_dir, found)


def scan(model_dir: Path, now: float) -> list[Found]:
    """All versions of a model, the greatest number first, then what may become one.

    Args:
        now: seconds since 1970.

    Raises:
        ModelError: `model_dir` is no folder, or cannot be read.
    """
    try:
        name, folders = model_dir.resolve().name, _folders(model_dir)
    except OSError as error:
        raise ModelError(f"{model_dir} cannot be read: {error.strerror}") from error
    numbered = sorted(((int(path.name), path) for path in folders if is_number(path.name)), reverse=True)
    unfinished = sorted(path for path in folders if _is_temporary(path.name))
    return [
        *(Found(name, path, number, judge(path, now)) for number, path in numbered),
        *(Found(name, path, None, Judgement(State.BROKEN, _unfinished(path))) for path in unfinished),
    ]


def list_models(root: Path = ROOT) -> list[Found]:
    """Every version of every model in `root`, by name. Raises ModelError if `root` cannot be read."""
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise ModelError(f"{root} cannot be read: {error.strerror}; name the folder of all models") from error
    now = time.time()
    return [found for folder in folders for found in scan(folder, now)]


def verify_model(name: str, version: int | None = None, root: Path = ROOT) -> dict[int, str]:
    """Compare a version of a model, or all, with what was pushed: number → what is wrong, empty if nothing is.

    Every file is read. Raises ModelError if there is no such model or version.
    """
    model_dir = root / check_name(name)
    numbers = [found.number for found in scan(model_dir, time.time()) if found.number is not None]
    if version is not None and version not in numbers:
        raise _no_such(model_dir, version, numbers)
    if not numbers:
        raise ModelError(f"{model_dir} holds no version")
    return {number: _problem(model_dir / str(number)) for number in numbers if version in (None, number)}


def check_name(name: str) -> str:
    """The name of a model, if it can be one folder's. Raises ModelError."""
    if is_name(name):
        return name
    raise ModelError(
        f"{name!r} cannot be a model's name: up to 128 letters, digits, `.`, `_` and `-`, of which the first is a "
        "letter or digit (--root names the folder above)"
    )


def is_name(text: str) -> bool:
    """Whether a model can have this name."""
    return bool(_NAME.fullmatch(text))


def is_number(text: str) -> bool:
    """Whether a folder of this name is a version."""
    return bool(_NUMBER.fullmatch(text)) and int(text) <= GREATEST


def _folders(model_dir: Path) -> list[Path]:
    if not model_dir.exists():
        raise ModelError(f"{model_dir} does not exist; put a version in {model_dir / '1'}/")
    if not model_dir.is_dir():
        raise ModelError(f"{model_dir} is a file, not a model's folder; put it in a folder, as <model>/1/<file>")
    return [path for path in model_dir.iterdir() if path.is_dir()]


def _fixed(model_dir: Path, number: int, found: list[Found]) -> Version:
    for each in found:
        if each.number == number:
            if each.judgement.state is State.BROKEN:
                raise ModelError(each.judgement.reason)
            return Version(each.model, number, each.path)
    raise _no_such(model_dir, number, [each.number for each in found if each.number is not None])


def _no_such(model_dir: Path, number: int, numbers: list[int]) -> ModelError:
    have = ", ".join(map(str, sorted(numbers))) or "none"
    return ModelError(f"{model_dir / str(number)} is not a folder; versions of {model_dir}: {have}")


def _newest(model_dir: Path, found: list[Found]) -> Version:
    passed: list[str] = []
    for each in found:
        if each.number is not None and each.judgement.state is State.WHOLE:
            for reason in passed:
                logger.warning("version %d of %s is used instead of a newer one: %s", each.number, each.model, reason)
            return Version(each.model, each.number, each.path)
        passed.append(each.judgement.reason)
    if not passed:
        raise ModelError(f"{model_dir} holds no version; put one in {model_dir / '1'}/")
    raise ModelError(f"{model_dir} holds no whole version: {'; '.join(passed)}")


def _problem(folder: Path) -> str:
    try:
        digests = verify(folder)
    except ModelError as error:
        return error.message
    return "" if digests else f"{folder} carries no digests to compare with; `millrace models push` writes them"


def _is_temporary(name: str) -> bool:
    stem, dot, ending = name.rpartition(".")
    return name.startswith(PUSHING) or (is_number(stem) and dot + ending in TEMPORARY)


def _unfinished(path: Path) -> str:
    return f"{path} is being written, or was left by a writer that ended"
