"""Exports the networks to the model folders that Millrace's graphs name."""

import json
from pathlib import Path

import torch
from torch import nn

from benchmarks.online import networks

FOLDER = Path(__file__).parent / ".models"


def export_models() -> None:
    """Write every model anew, as version 1: a change of the networks is never missed."""
    _export(networks.tiny(), networks.TINY, FOLDER / "tiny")
    for member in (0, 1):
        _export(networks.batchable(member), networks.BATCHABLE, FOLDER / f"batchable-{member}")


def _export(network: nn.Sequential, widths: tuple[int, ...], folder: Path) -> None:
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    rows = {"input": {0: torch.export.Dim("rows")}}
    program = torch.export.export(network, (torch.zeros(2, widths[0]),), dynamic_shapes=rows)
    torch.export.save(program, version / "model.pt2")
    # A .pt2 file does not name its outputs.
    signature = {
        "inputs": {"input": {"datatype": "FP32", "shape": [-1, widths[0]]}},
        "outputs": {"y": {"datatype": "FP32", "shape": [-1, widths[-1]]}},
    }
    (version / "signature.json").write_text(json.dumps(signature, indent=2) + "\n")
