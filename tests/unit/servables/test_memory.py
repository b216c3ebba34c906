"""How many bytes a loaded model takes, by its adapter or by its files."""

from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

from servables.base import LoadOptions
from servables.load import load_servable
from servables.memory import Memory, files_memory, memory_of, of_tensors
from tests.support.server import ROOT
from tests.unit.servables import tiny_models
from tests.unit.servables.conftest import OPTIONS


def test_shared_tensors_count_once_and_packed_ones_too() -> None:
    weight = torch.zeros(1000, 10)
    packed = torch.ops.mkldnn._reorder_linear_weight(torch.zeros(64, 64), None)
    assert of_tensors([weight, weight.T, weight[:5]]) == Memory(40_000)
    assert of_tensors([weight, packed, packed.clone()]).host >= 40_000 + 2 * 64 * 64 * 4
    assert of_tensors([]) == Memory()


def test_an_exported_program_takes_its_weights(folder: Path, pt2: bytes) -> None:
    (folder / "model.pt2").write_bytes(pt2)
    model = load_servable(folder, OPTIONS)
    assert memory_of(model, folder) == Memory(4 * (4 * 16 + 16 + 16 * 3 + 3))


def test_a_compressed_estimator_takes_what_it_is_in_memory(folder: Path, table: tuple[np.ndarray, np.ndarray]) -> None:
    forest = RandomForestClassifier(30, random_state=0).fit(*table)
    joblib.dump(forest, folder / "model.joblib", compress=9)
    model = load_servable(folder, LoadOptions(trust="pickle"))
    nodes = sum(tree.tree_.__getstate__()["nodes"].nbytes for tree in forest.estimators_)
    assert files_memory(folder).host < nodes < memory_of(model, folder).host < 2 * nodes


@pytest.mark.usefixtures("demo_models")
def test_an_ensemble_of_trees_in_onnxruntime_takes_several_times_its_file() -> None:
    folder = ROOT / "models" / "digits-forest" / "1"
    assert 4 < memory_of(load_servable(folder, OPTIONS), folder).host / files_memory(folder).host < 6


def test_what_does_not_tell_takes_as_much_as_its_files(folder: Path) -> None:
    (folder / "table.bin").write_bytes(bytes(1000))
    assert memory_of(object(), folder) == Memory(1000)  # type: ignore[arg-type]
    assert files_memory(folder, "cuda:0") == Memory(gpu=1000)


def test_a_class_may_tell(folder: Path, signature: Callable[..., None]) -> None:
    (folder / "shift.csv").write_text("0.5")
    signature(module=f"{tiny_models.PATH}:Sized")
    assert memory_of(load_servable(folder, OPTIONS), folder) == Memory(12_345)


def test_memory_in_words() -> None:
    assert str(Memory(2_500_000)) == "2.5 MB of the host's memory"
    assert str(Memory(0, 3_000_000_000)) == "0.0 MB of the host's memory and 3,000.0 MB of the GPU's"
