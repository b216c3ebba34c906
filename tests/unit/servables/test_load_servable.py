"""Detection of the format, damaged files, missing libraries, versions, the manifest."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.errors import MissingExtra, ModelError
from servables.files import only_file
from servables.load import FORMATS, detect, load_servable
from servables.manifest import read_manifest
from servables.store import Version, find_version
from tests.unit.servables import tiny_models
from tests.unit.servables.conftest import OPTIONS

FILES = {
    "torch": "model.pt2",
    "torchscript": "model.pt",
    "safetensors": "model.safetensors",
    "onnx": "model.onnx",
    "sklearn": "model.skops",
    "xgboost": "model.ubj",
    "lightgbm": "model.txt",
    "mlflow": "MLmodel",
    "lookup": "lookup.arrow",
    "index": "vectors.f32",
    "python": "signature.json",
}
CLASS = {"module": f"{tiny_models.PATH}:Shifted"}
SPECS = {
    "inputs": {"x": {"datatype": "FP32", "shape": [-1, 4]}},
    "outputs": {"y": {"datatype": "FP32", "shape": [-1, 3]}},
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_detected_among_bystanders(folder: Path, name: str) -> None:
    (folder / FILES[name]).write_text(json.dumps(CLASS))
    for bystander in ("labels.txt", "requirements.txt", "README.md", "config.json", "index.json", ".model.onnx.tmp"):
        (folder / bystander).write_text("")
    if name in ("safetensors", "torchscript"):
        (folder / "signature.json").write_text(json.dumps({**CLASS, **SPECS} if name == "safetensors" else SPECS))
    assert name == detect(folder).NAME


def test_ambiguous_and_unknown_folders(folder: Path) -> None:
    (folder / "notes.md").touch()
    with pytest.raises(ModelError, match=r"holds notes.md: no model of a known format; known are torch \(\*\.pt2\)"):
        detect(folder)
    (folder / "a.onnx").touch()
    (folder / "b.pt2").touch()
    with pytest.raises(ModelError, match=r"a\.onnx, b.pt2, notes.md: that could be torch and onnx; say which"):
        load_servable(folder, OPTIONS)
    with pytest.raises(ModelError, match="does not load in onnxruntime"):
        load_servable(folder, OPTIONS, format="onnx")
    with pytest.raises(ModelError, match="format 'tensorflow' is unknown; known are torch, torchscript"):
        load_servable(folder, OPTIONS, format="tensorflow")
    (folder / "c.onnx").touch()
    with pytest.raises(ModelError, match=r"2 files match \(a.onnx, c.onnx\)"):
        only_file(folder, ("*.onnx",))


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "python"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 64, b"PK\x03\x04 broken zip", b'{"learner": 1}', b"tree\nversion=v4\n"],
    ids=["empty", "zeros", "zip", "json", "tree"],
)
def test_damaged_files_are_one_line_model_errors(folder: Path, name: str, content: bytes) -> None:
    (folder / FILES[name]).write_bytes(content)
    if name in ("safetensors", "torchscript"):
        module = {"module": f"{tiny_models.PATH}:Mlp"} if name == "safetensors" else {}
        (folder / "signature.json").write_text(json.dumps({**SPECS, **module}))
    with pytest.raises(ModelError) as caught:
        load_servable(folder, OPTIONS)
    assert str(folder) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_truncated_program_is_a_model_error(folder: Path, pt2: bytes) -> None:
    for share in (0.3, 0.9):
        (folder / "model.pt2").write_bytes(pt2[: int(len(pt2) * share)])
        with pytest.raises(ModelError, match=r"is not a program saved by torch.export.save"):
            load_servable(folder, OPTIONS)


def test_load_servable_gives_the_outputs(folder: Path, pt2: bytes) -> None:
    (folder / "model.pt2").write_bytes(pt2)
    assert load_servable(folder, OPTIONS)({"x": np.zeros((2, 4), np.float32)})["output"].shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("torch", "torch", "torch"),
        ("torchscript", "torch", "torch"),
        ("safetensors", "safetensors.torch", "torch"),
        ("onnx", "onnxruntime", "onnx"),
        ("sklearn", "sklearn", "sklearn"),
        ("xgboost", "xgboost", "xgboost"),
        ("lightgbm", "lightgbm", "lightgbm"),
    ],
)
def test_a_missing_library_names_its_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    (folder / FILES[name]).touch()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"{module} cannot be imported .*pip install 'millrace\[{extra}\]'"):
        load_servable(folder, OPTIONS)


def test_the_newest_version_is_the_greatest_number(tmp_path: Path) -> None:
    for name in ("9", "10", "07", "-1", "11.tmp", ".12", "notes"):
        (tmp_path / "digits" / name).mkdir(parents=True)
        (tmp_path / "digits" / name / "model.onnx").touch()
    (tmp_path / "digits" / "99").touch()
    model = tmp_path / "digits"
    assert find_version(model) == Version("digits", 10, model / "10")
    assert find_version(model, 9) == Version("digits", 9, model / "9")
    for absent in (11, 99):
        with pytest.raises(ModelError, match=rf"{absent} is not a folder; versions of .*: 9, 10"):
            find_version(model, absent)


def test_folders_without_a_version(tmp_path: Path) -> None:
    model = tmp_path / "digits"
    with pytest.raises(ModelError, match=r"digits does not exist; put a version in .*digits/1/"):
        find_version(model)
    model.mkdir()
    with pytest.raises(ModelError, match=r"holds no version; put one in .*digits/1/"):
        find_version(model)
    (model / "1").mkdir()
    (model / "1" / ".partial").touch()
    with pytest.raises(ModelError, match=r"digits/1 is empty; put the model's files in it"):
        find_version(model)
    with pytest.raises(ModelError, match=r"\.partial is a file, not a model's folder"):
        find_version(model / "1" / ".partial")


def test_a_version_may_be_a_link_to_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "store" / "abc"
    elsewhere.mkdir(parents=True)
    (elsewhere / "model.onnx").touch()
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "3").symlink_to(elsewhere)
    assert find_version(tmp_path / "digits").number == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "signature.json is not readable JSON"),
        ("[]", "content: Input should be"),
        ('{"input": {}}', "input: Extra inputs are not permitted"),
        ('{"inputs": {"x": {"datatype": "FLOAT", "shape": [-1]}}}', r"inputs\.x\.datatype: Input should be 'BOOL'"),
        ('{"inputs": {"x": {"datatype": "FP32", "shape": [1, 4]}}}', "the first dimension is the rows; write -1"),
        ('{"module": "os.system"}', "module: String should match pattern"),
    ],
)
def test_a_bad_signature_json_says_where(folder: Path, text: str, reason: str) -> None:
    (folder / "signature.json").write_text(text)
    with pytest.raises(ModelError, match=reason):
        read_manifest(folder)
