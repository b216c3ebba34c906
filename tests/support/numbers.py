"""The graph `numbers`: a model in the gateway and one in a process of its own; each adds the number of its version."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from servables.push import push_model

MODELS = ("inside", "outside")


def publish(folder: Path, model: str, number: int, **kwargs: object) -> None:
    """Push a version, which counts at once."""
    manifest = {"module": "tests.support.nodes:Add", "kwargs": {"amount": float(number), **kwargs}}
    with TemporaryDirectory() as source:
        (Path(source) / "signature.json").write_text(json.dumps(manifest))
        push_model(Path(source), model, folder, number, options=None)


def write(folder: Path) -> Path:
    """The graph's file, with version 1 of each model beside it."""
    folder.mkdir()
    nodes: dict[str, dict] = {name: {"model": str(folder / name), "inputs": {"x": "x"}} for name in MODELS}
    nodes["outside"]["isolate"] = True
    for model in MODELS:
        publish(folder, model, 1)
    outputs = {name: f"{name}.y" for name in MODELS}
    path = folder / "numbers.yaml"
    path.write_text(
        yaml.safe_dump({"name": "numbers", "inputs": {"x": "FP32[-1, 2]"}, "nodes": nodes, "outputs": outputs})
    )
    return path
