"""Train the demo's two models and write them where `configs/digits.yaml` looks: `python -m examples.digits.train`."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

NAMES = ("digits-cnn", "digits-forest")
VERSION = "1"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    models: Annotated[Path, typer.Option(help="Folder that holds one folder a model.")] = Path("models"),
    force: Annotated[bool, typer.Option("--force", help="Train again what exists already.")] = False,
) -> None:
    """Train a CNN and a tree ensemble on scikit-learn's handwritten digits; takes a few seconds on two cores."""
    missing = [name for name in NAMES if force or not (models / name / VERSION).exists()]
    for name in NAMES:
        if name not in missing:
            typer.echo(f"{name}: {models / name / VERSION} exists; --force trains it again")
    for name, accuracy in train_models(models, missing).items():
        typer.echo(f"{name}: {accuracy:.1%} of the held-out digits right → {models / name / VERSION}")


def train_models(models: Path, names: list[str]) -> dict[str, float]:
    """Train and publish the named models; gives each one's accuracy on held-out digits."""
    if not names:
        return {}
    # Here, so that a run that finds everything in place does not wait for these imports.
    from examples.digits import cnn, data, forest

    trainers = {"digits-cnn": cnn.train, "digits-forest": forest.train}
    digits, held_out = data.load()

    def publish_one(name: str) -> float:
        return publish(models / name / VERSION, lambda folder: trainers[name](digits, held_out, folder))

    return {name: publish_one(name) for name in names}


def publish(version: Path, write: Callable[[Path], float]) -> float:
    """Let `write` fill a temporary folder beside `version`, then rename it: nobody sees half a version.

    A version that exists is replaced, and stays if `write` raises. Gives what `write` gives.
    """
    version.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=version.parent, prefix=".") as scratch:
        folder = Path(scratch) / "new"
        folder.mkdir()
        result = write(folder)
        if version.exists():
            version.rename(Path(scratch) / "old")
        folder.rename(version)
    return result


if __name__ == "__main__":
    app()
