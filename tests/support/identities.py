"""The graphs `identity_<datatype>` of the conformance suite."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from configs.tensors import Datatype


def write(folder: Path) -> Iterator[Path]:
    """A file for each datatype."""
    folder.mkdir()
    for datatype in Datatype:
        path = folder / f"identity_{datatype.lower()}.yaml"
        path.write_text(yaml.safe_dump(_identity(datatype)))
        yield path


def _identity(datatype: Datatype) -> dict:
    tensor = f"{datatype}[-1, -1]"
    same = {"call": "tests.support.conformance_nodes:identity", "inputs": {"INPUT0": "INPUT0"}}
    return {
        "name": f"identity_{datatype.lower()}",
        "inputs": {"INPUT0": tensor},
        "nodes": {"same": same | {"outputs": {"OUTPUT0": tensor}}},
        "outputs": {"OUTPUT0": "same.OUTPUT0"},
    }
