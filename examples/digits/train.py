"""Train the demo's two models and publish them where `configs/digits.yaml` looks: `python -m examples.digits.train`."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from configs.errors import ModelError
from servables.store import Version, find_version

NAMES = ("digits-cnn", "digits-forest")

app = typer.Typer(add_completion=False)


@app.command()
def main(
    models: Annotated[Path, typer.Option(help="Folder that holds one folder a model.")] = Path("models"),
    force: Annotated[bool, typer.Option("--force", help="Train again what exists, and publish a new version.")] = False,
) -> None:
    """Train a CNN and a tree ensemble on scikit-learn's handwritten digits; takes a few seconds on two cores."""
    missing = []
    for name in NAMES:
        version = None if force else published(models / name)
        if version is None:
            missing.append(name)
        else:
            typer.echo(f"{name}: {version.path} exists; --force trains a new version")
    for name, accuracy in train_models(models, missing).items():
        typer.echo(f"{name}: {accuracy:.1%} of the held-out digits right → {find_version(models / name).path}")


def published(model_dir: Path) -> Version | None:
    """The model's newest version, if any is whole."""
    try:
        return find_version(model_dir)
    except ModelError:
        return None


def train_models(models: Path, names: list[str]) -> dict[str, float]:
    """Train the named models and publish each as its next version; gives each one's accuracy on held-out digits."""
    if not names:
        return {}
    # Here, so that a run that finds everything in place does not wait for these imports.
    from examples.digits import cnn, data, forest
    from servables.push import push_model

    trainers = {"digits-cnn": cnn.train, "digits-forest": forest.train}
    digits, held_out = data.load()

    def train(name: str) -> float:
        with TemporaryDirectory() as folder:
            accuracy = trainers[name](digits, held_out, Path(folder))
            push_model(Path(folder), name, models)
        return accuracy

    return {name: train(name) for name in names}


if __name__ == "__main__":
    app()
