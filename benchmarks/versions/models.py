"""The models whose versions are swapped: in every answer, the first number is the version that gave it."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from servables.push import push_model

INLINE, NETWORK, PLACED = "inline", "network", "placed"
SWAPPED = (INLINE, NETWORK, PLACED)
"""Those whose versions are published one after the other."""
ALIASED = "aliased"
"""Of the two versions of this one an alias in a registry says which has the traffic."""
ALIAS = "champion"
WIDTH = {INLINE: 1, NETWORK: 512, PLACED: 1, ALIASED: 1}
"""Model → numbers in a row."""


class Numbered:
    """Adds the number of its version."""

    inputs: ClassVar = {"x": ("FP32", [-1, 1])}
    outputs: ClassVar = {"y": ("FP32", [-1, 1])}

    def __init__(self, number: float) -> None:
        self._number = np.float32(number)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": x + self._number}


def write_numbered(folder: Path, number: int, broken: bool = False) -> None:
    """The files of a version of `Numbered`; a broken one raises when it is loaded."""
    kwargs = {"number": number} | ({"nonsense": True} if broken else {})
    manifest = {"module": f"{__name__}:{Numbered.__name__}", "kwargs": kwargs}
    (folder / "signature.json").write_text(json.dumps(manifest))


def graph(model: str, root: Path) -> dict[str, Any]:
    """A graph of this name with the one model."""
    name = "input" if model == NETWORK else "x"
    node: dict[str, Any] = {"model": str(root / model), "inputs": {name: "x"}, "isolate": model == PLACED}
    if model == ALIASED:  # both versions stay loaded
        node |= {"model": f"mlflow:{ALIASED}", "versions": {"alias": ALIAS, "keep": 1}}
    shape = f"FP32[-1, {WIDTH[model]}]"
    return {"name": model, "inputs": {"x": shape}, "nodes": {"model": node}, "outputs": {"y": "model.y"}}


class Publisher:
    """Publishes versions of the models, as `millrace models push` does.

    Args:
        root: folder of the models.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._program: Any = None

    def publish(self, model: str, number: int, broken: bool = False) -> float:
        """A version of this number; a broken one raises when it is loaded. When it was there, in seconds since 1970."""
        with TemporaryDirectory() as name:
            folder = Path(name)
            if model == NETWORK:
                self._write_network(folder, number)
            else:
                write_numbered(folder, number, broken)
            pushed = push_model(folder, model, self._root, number, options=None)
        return pushed.version.path.stat().st_ctime  # of its change of name; what a push does after that takes time

    def _write_network(self, folder: Path, number: int) -> None:
        """The 25 MB perceptron of the online benchmark, with the number as the first of its outputs."""
        import torch  # here, as it takes seconds

        from benchmarks.online import networks

        if self._program is None:
            rows = {"input": {0: torch.export.Dim("rows")}}
            example = torch.zeros(2, WIDTH[NETWORK])
            self._program = torch.export.export(networks.batchable(0), (example,), dynamic_shapes=rows)
        weights = self._program.state_dict
        with torch.no_grad():
            weights["4.weight"][0], weights["4.bias"][0] = 0, number
        torch.export.save(self._program, folder / "model.pt2")
        side = {"datatype": "FP32", "shape": [-1, WIDTH[NETWORK]]}
        signature = {"inputs": {"input": side}, "outputs": {"y": side}}
        (folder / "signature.json").write_text(json.dumps(signature))
