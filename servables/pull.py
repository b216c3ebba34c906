"""Copy a version from a URL or an MLflow registry into a folder of versions."""

import time
from pathlib import Path

from configs.errors import ModelError
from servables.base import LoadOptions
from servables.push import Pushed, push_model
from servables.sources.base import Progress, Published
from servables.sources.named import is_remote, remote_of
from servables.store import ROOT, check_name
from servables.workplace import workplace


def pull_model(
    source: str,
    name: str,
    root: Path = ROOT,
    version: int | None = None,
    *,
    options: LoadOptions | None = LoadOptions(),  # noqa: B008 - frozen
    progress: Progress = lambda _bytes, _total: None,
) -> Pushed:
    """Fetch a version of `source` and publish it as `<root>/<name>/<version>/`, under the number that it has there.

    Args:
        source: a URL of a model's folder, or `mlflow:<registered model>`.
        version: its number; by default the greatest.
        options: how to load it once before it is published; None: only its format is looked for.

    Raises:
        ModelError: bad source, name or number; it could not be fetched whole, or does not load. Nothing was published.
        MissingExtra: the library that opens the source, or loads the model, is not installed.
    """
    if not is_remote(source):
        raise ModelError(f"{source} lies on this machine; publish it with `millrace models push {source} {name}`")
    remote = remote_of(source)
    published = remote.published(time.time())
    number = max(published.versions, default=None) if version is None else version
    if number is None or number not in published.versions:
        raise ModelError(_none_such(remote.place, number, published))
    with workplace(root / check_name(name)) as folder:
        remote.download(number, folder, progress)
        if remote.published(time.time()).versions.get(number) != published.versions[number]:
            raise ModelError(f"{remote.place} version {number} changed while it was fetched; pull it again")
        try:
            return push_model(folder, name, root, number, options=options)
        except ModelError as error:
            raise ModelError(error.message.replace(str(folder), f"{remote.place} version {number}")) from error


def _none_such(place: str, number: int | None, published: Published) -> str:
    have = ", ".join(map(str, sorted(published.versions))) or "none"
    said = "".join(f"; {note}" for note in published.notes)
    return (
        f"{place} has no {'version' if number is None else f'version {number}'} that is whole; there are: {have}{said}"
    )
