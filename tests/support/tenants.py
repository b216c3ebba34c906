"""The graph `tenants`: a node of twelve models, of which four fit into each of two processes; number n adds n."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from servables.push import push_model

MODELS, FIT, SIZE = 12, 4, 50_000


def publish(folder: Path, model: str, amount: float, version: int = 1) -> None:
    """Push a model that adds a number, with a file that gives it a size."""
    manifest = {"module": "tests.support.nodes:Add", "kwargs": {"amount": float(amount)}}
    with TemporaryDirectory() as source:
        (Path(source) / "weights.bin").write_bytes(bytes(SIZE))
        (Path(source) / "signature.json").write_text(json.dumps(manifest))
        push_model(Path(source), model, folder / "models", version, options=None)


def write(folder: Path) -> Path:
    """The graph's file, with the models beside it."""
    for number in range(MODELS):
        publish(folder, f"m{number}", number)
    node = {
        "models": str(folder / "models"),
        "inputs": {"model": "tenant", "x": "x"},
        "max_bytes": int((FIT + 0.5) * SIZE),
        "replicas": 2,
    }
    graph = {
        "name": "tenants",
        "inputs": {"tenant": "BYTES[-1]", "x": "FP32[-1, 2]"},
        "nodes": {"score": node},
        "outputs": {"y": "score.y"},
    }
    path = folder / "tenants.yaml"
    path.write_text(yaml.safe_dump(graph))
    return path
