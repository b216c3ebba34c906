"""The demo: its graph's schema, its node, and its training, once, into a temporary folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from configs.graph import GraphConfig, ModelNode
from examples.digits.nodes import Scale
from examples.digits.train import NAMES, app, published, train_models
from servables.store import find_version
from servables.versions import verify

CONFIG = Path(__file__).parents[4] / "configs" / "digits.yaml"


@pytest.fixture(scope="module")
def digits() -> GraphConfig:
    return GraphConfig.model_validate(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    accuracies = train_models(folder, list(NAMES))
    assert set(accuracies) == set(NAMES)
    assert min(accuracies.values()) > 0.97
    return folder


@pytest.fixture(scope="module")
def held_out() -> tuple[np.ndarray, np.ndarray]:
    from examples.digits import data

    split = data.load()[1]
    return split.x, split.label


def test_graph_is_the_issues(digits: GraphConfig) -> None:
    assert digits.name == "digits"
    assert str(digits.inputs["image"]) == "UINT8[-1, 8, 8]"
    assert (digits.inputs["image"].minimum, digits.inputs["image"].maximum) == (0, 16)
    assert digits.outputs == {"label": "top.label", "score": "top.score"}
    assert digits.nodes["cnn"].gpus == 0.25


def test_example_is_a_real_digit(digits: GraphConfig) -> None:
    from sklearn.datasets import load_digits

    assert digits.inputs["image"].example == load_digits().images[0].astype(int).tolist()


def test_cpu_profile_places_the_network_without_a_gpu(digits: GraphConfig) -> None:
    cnn = digits.with_profile("cpu").nodes["cnn"]
    assert isinstance(cnn, ModelNode)
    assert (cnn.gpus, cnn.cpus, cnn.placed) == (0, 0.5, True)
    assert cnn.replicas is not None
    assert (cnn.replicas.min, cnn.replicas.max) == (1, 4)


def test_models_lie_where_the_graph_looks(digits: GraphConfig, models: Path) -> None:
    for node in digits.nodes.values():
        if isinstance(node, ModelNode):
            assert node.model.startswith("models/")
            assert (models / Path(node.model).name / "1").is_dir()


def test_scale_gives_what_it_declares() -> None:
    x = Scale()(np.array([np.full((8, 8), 16), np.full((8, 8), 4)], np.uint8))["x"]
    assert (x.dtype, x.shape) == (np.float32, (2, 1, 8, 8))
    assert x[:, 0, 0, 0].tolist() == [1.0, 0.25]


@pytest.mark.parametrize("rows", [1, 3, 450])
def test_network_loads_and_reads_held_out_digits(
    models: Path, held_out: tuple[np.ndarray, np.ndarray], rows: int
) -> None:
    import torch

    x, label = held_out
    program = torch.export.load(models / "digits-cnn" / "1" / "model.pt2").module()
    probs = program(torch.from_numpy(x[:rows])).detach().numpy()
    assert (probs.dtype, probs.shape) == (np.float32, (rows, 10))
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (probs.argmax(axis=1) == label[:rows]).mean() > 0.95
    signature = json.loads((models / "digits-cnn" / "1" / "signature.json").read_text())
    assert signature["outputs"] == {"probs": {"datatype": "FP32", "shape": [-1, 10]}}


@pytest.mark.parametrize("rows", [1, 3, 450])
def test_forest_loads_and_reads_held_out_digits(
    models: Path, held_out: tuple[np.ndarray, np.ndarray], rows: int
) -> None:
    import onnxruntime

    x, label = held_out
    path = models / "digits-forest" / "1" / "model.onnx"
    assert path.stat().st_size < 5_000_000
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(tensor.name, tensor.shape) for tensor in session.get_inputs()] == [("x", ["rows", 1, 8, 8])]
    assert [tensor.name for tensor in session.get_outputs()] == ["probs"]
    (probs,) = session.run(None, {"x": x[:rows]})
    assert (probs.dtype, probs.shape) == (np.float32, (rows, 10))
    assert (probs.argmax(axis=1) == label[:rows]).mean() > 0.95


def test_forest_is_the_same_each_time(models: Path, tmp_path: Path) -> None:
    train_models(tmp_path, ["digits-forest"])
    file = Path("digits-forest") / "1" / "model.onnx"
    assert (tmp_path / file).read_bytes() == (models / file).read_bytes()


def test_second_run_changes_nothing(models: Path) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in models.rglob("*")}

    before = times()
    done = CliRunner().invoke(app, ["--models", str(models)])
    assert done.exit_code == 0
    assert done.output.count("--force trains a new version") == 2
    assert times() == before


def test_models_carry_digests(models: Path) -> None:
    for name in NAMES:
        assert verify(models / name / "1") is not None


def test_force_publishes_the_next_version(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        shutil.copytree(models / name, tmp_path / name)
    monkeypatch.setattr("examples.digits.cnn.EPOCHS", 1)
    done = CliRunner().invoke(app, ["--models", str(tmp_path), "--force"])
    assert done.exit_code == 0
    for name in NAMES:
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["1", "2"]
        assert f"held-out digits right → {tmp_path / name / '2'}" in done.output


def test_what_is_half_written_is_trained_again(tmp_path: Path) -> None:
    (tmp_path / "digits-forest" / "1").mkdir(parents=True)
    (tmp_path / "digits-forest" / "1" / "model.onnx.part").touch()
    assert published(tmp_path / "digits-forest") is None
    train_models(tmp_path, ["digits-forest"])
    assert published(tmp_path / "digits-forest") == find_version(tmp_path / "digits-forest", 2)
