"""PyTorch: exported programs, TorchScript, safetensors."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.torch
import torch

from configs.errors import InvalidInput, ModelError
from configs.tensors import TensorSpec
from servables.base import LoadOptions
from servables.formats import safetensors_module, torch_export, torchscript
from tests.unit.servables import tiny_models
from tests.unit.servables.conftest import OPTIONS
from tests.unit.servables.tiny_models import InPlace, Mlp, Named, TwoWays

ROWS = torch.export.Dim("rows")
X = {"x": {"datatype": "FP32", "shape": [-1, 4]}}
Y = {"y": {"datatype": "FP32", "shape": [-1, 3]}}


def expected(module: torch.nn.Module, *arrays: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return module(*(torch.from_numpy(array.copy()) for array in arrays))


def export(folder: Path, module: torch.nn.Module, *inputs: torch.Tensor, rows: torch.export.Dim = ROWS) -> None:
    shapes = tuple({0: rows} for _ in inputs)
    torch.export.save(torch.export.export(module, inputs, dynamic_shapes=shapes), folder / "model.pt2")


def script(folder: Path, module: torch.nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), folder / "model.pt")


def rewrite(content: bytes, part: str, edit: Callable[[bytes], bytes]) -> bytes:
    """The archive with one of its files changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, edit(data) if entry.filename.endswith(part) else data)
    return out.getvalue()


class Payload:
    """A pickle that leaves a trace when it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.trace,)


def test_exported_program(folder: Path, pt2: bytes, mlp: Mlp, x: np.ndarray) -> None:
    (folder / "model.pt2").write_bytes(pt2)
    servable = torch_export.load(folder, OPTIONS)
    assert servable.signature.inputs == {"x": TensorSpec.model_validate("FP32[-1, 4]")}
    assert servable.signature.outputs == {"output": TensorSpec.model_validate("FP32[-1, 3]")}
    np.testing.assert_array_equal(servable({"x": x})["output"], expected(mlp, x))
    servable.close()


def test_exported_outputs_take_names_from_the_manifest(folder: Path, pt2: bytes, signature: Callable) -> None:
    (folder / "model.pt2").write_bytes(pt2)
    signature(outputs=Y)
    assert set(torch_export.load(folder, OPTIONS).signature.outputs) == {"y"}
    signature(outputs={"y": {"datatype": "FP32", "shape": [-1, 5]}})
    with pytest.raises(ModelError, match=r"y: FP32\[-1, 5\], but the model has y: FP32\[-1, 3\]"):
        torch_export.load(folder, OPTIONS)


def test_exported_program_with_buffers_two_inputs_and_bfloat16(folder: Path, x: np.ndarray) -> None:
    module = TwoWays().eval()
    export(folder, module, torch.rand(3, 4), torch.rand(3, 1))
    servable = torch_export.load(folder, OPTIONS)
    scale = np.full((len(x), 1), 2, np.float32)
    found = servable({"scale": scale, "x": x})
    full, short = expected(module, x, scale)
    np.testing.assert_array_equal(found["output_0"], full)
    assert found["output_1"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found["output_1"].astype(np.float32), short.float())


def test_exported_dictionary_keeps_its_names_and_inputs_are_not_written(folder: Path, table: tuple) -> None:
    class Both(Named):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return super().forward(x.mul_(2.0))

    module = Both().eval()
    export(folder, module, torch.rand(3, 4))
    x = table[0][:7].copy()
    found = torch_export.load(folder, OPTIONS)({"x": x})
    np.testing.assert_array_equal(x, table[0][:7])
    np.testing.assert_array_equal(found["label"], expected(module, x)["label"])
    np.testing.assert_array_equal(found["probs"], expected(module, x)["probs"])


def test_exported_row_limits(folder: Path, table: tuple) -> None:
    export(folder, Mlp(), torch.rand(3, 4), rows=torch.export.Dim("rows", max=8))
    servable = torch_export.load(folder, OPTIONS)
    assert servable({"x": table[0][:8]})["output"].shape == (8, 3)
    with pytest.raises(InvalidInput, match=r"9 rows.*at most 8"):
        servable({"x": table[0][:9]})
    export(folder, Mlp(), torch.rand(9, 4), rows=torch.export.Dim("rows", min=5))
    with pytest.raises(ModelError, match="at least 5 rows"):
        torch_export.load(folder, OPTIONS)


def test_exported_with_fixed_rows_or_in_training_mode_is_refused(folder: Path) -> None:
    torch.export.save(torch.export.export(Mlp(), (torch.rand(3, 4),)), folder / "model.pt2")
    with pytest.raises(ModelError, match=r"fixed number of rows \(3\); export with dynamic_shapes"):
        torch_export.load(folder, OPTIONS)
    export(folder, torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout()).train(), torch.rand(3, 4))
    with pytest.raises(ModelError, match=r"training mode .*model.eval\(\)"):
        torch_export.load(folder, OPTIONS)


def test_a_pickle_inside_an_archive_is_not_opened(folder: Path, pt2: bytes) -> None:
    trace = folder.parent / "ran"
    buffer = io.BytesIO()
    torch.save(Payload(trace), buffer)
    (folder / "model.pt2").write_bytes(rewrite(pt2, "sample_inputs/model.pt", lambda _: buffer.getvalue()))
    with pytest.raises(ModelError, match="not plain tensors and is not opened"):
        torch_export.load(folder, OPTIONS)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists(), "the payload would have left a trace"


@pytest.mark.parametrize("code", ["__import__('pathlib').Path('{}').touch()", 'sympify(\'open("{}", "w")\')'])
def test_code_in_place_of_a_size_is_not_evaluated(folder: Path, pt2: bytes, code: str) -> None:
    trace = folder.parent / "ran"
    text = code.format(trace).replace('"', '\\"').encode()

    def edit(data: bytes) -> bytes:
        assert b"Symbol('" in data
        start = data.index(b"Symbol('")
        return data.replace(data[start : data.index(b")", start) + 1], text)

    (folder / "model.pt2").write_bytes(rewrite(pt2, "models/model.json", edit))
    with pytest.raises(ModelError, match="that is not arithmetic"):
        torch_export.load(folder, OPTIONS)
    assert not trace.exists()


def test_a_file_that_export_does_not_write_is_refused(folder: Path, pt2: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(pt2)) as archive:
        root = archive.namelist()[0].partition("/")[0]
    content = io.BytesIO(pt2)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(f"{root}/data/aotinductor/model/wrapper.so", b"\x7fELF")
    (folder / "model.pt2").write_bytes(content.getvalue())
    with pytest.raises(ModelError, match=r"wrapper\.so"):
        torch_export.load(folder, OPTIONS)


def test_torchscript(folder: Path, mlp: Mlp, signature: Callable, x: np.ndarray) -> None:
    script(folder, mlp)
    signature(inputs=X, outputs=Y)
    servable = torchscript.load(folder, LoadOptions(threads=1))
    np.testing.assert_array_equal(servable({"x": x})["y"], expected(mlp, x))
    assert servable.signature.outputs == {"y": TensorSpec.model_validate("FP32[-1, 3]")}


def test_torchscript_that_writes_to_its_input_gets_a_copy(folder: Path, signature: Callable, table: tuple) -> None:
    module = InPlace().eval()
    script(folder, module)
    signature(inputs=X, outputs=Y)
    x = table[0][:7].copy()
    found = torchscript.load(folder, OPTIONS)({"x": x})
    np.testing.assert_array_equal(x, table[0][:7])
    np.testing.assert_array_equal(found["y"], expected(module, x))


def test_torchscript_signature_must_be_there_and_fit(folder: Path, mlp: Mlp, signature: Callable) -> None:
    script(folder, mlp)
    with pytest.raises(ModelError, match=r"does not say its inputs; add .* to signature\.json"):
        torchscript.load(folder, OPTIONS)
    signature(inputs=X, outputs={"y": {"datatype": "INT64", "shape": [-1, 3]}})
    with pytest.raises(
        ModelError, match=r"y is written as INT64\[-1, 3\], but two rows gave \[2, 3\] of torch.float32"
    ):
        torchscript.load(folder, OPTIONS)
    signature(inputs=X, outputs={**Y, "z": Y["y"]})
    with pytest.raises(ModelError, match="must return the tensors y, z"):
        torchscript.load(folder, OPTIONS)
    signature(inputs={**X, "z": X["x"]}, outputs=Y)
    with pytest.raises(ModelError, match="inputs x, z, but forward takes x"):
        torchscript.load(folder, OPTIONS)
    signature(inputs={"x": {"datatype": "FP32", "shape": [-1, 5]}}, outputs=Y)
    with pytest.raises(ModelError, match="two rows of zeros fail"):
        torchscript.load(folder, OPTIONS)


def test_weights_saved_by_torch_save_are_no_torchscript(folder: Path, mlp: Mlp, signature: Callable) -> None:
    torch.save(mlp.state_dict(), folder / "model.pt")
    signature(inputs=X, outputs=Y)
    with pytest.raises(ModelError, match=r"not a TorchScript archive .*\.safetensors"):
        torchscript.load(folder, OPTIONS)


def test_safetensors(folder: Path, signature: Callable, x: np.ndarray) -> None:
    module = Mlp(classes=5).eval()
    safetensors.torch.save_model(module, str(folder / "model.safetensors"))
    outputs = {"y": {"datatype": "FP32", "shape": [-1, 5]}}
    signature(inputs=X, outputs=outputs, module=f"{tiny_models.PATH}:Mlp", kwargs={"classes": 5})
    servable = safetensors_module.load(folder, OPTIONS)
    np.testing.assert_array_equal(servable({"x": x})["y"], expected(module, x))
    assert not servable({"x": x})["y"].flags.owndata  # a view of the tensor, not a copy


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "must name the class"),
        ({"module": "no_such_package:Mlp"}, "cannot import no_such_package:Mlp: ModuleNotFoundError"),
        ({"module": f"{tiny_models.PATH}:Nope"}, "has no attribute 'Nope'"),
        ({"module": "subprocess:Popen", "kwargs": {"args": ["true"]}}, "not a torch.nn.Module"),
        ({"module": f"{tiny_models.PATH}:Mlp", "kwargs": {"clases": 5}}, "unexpected keyword argument 'clases'"),
        ({"module": f"{tiny_models.PATH}:Mlp", "kwargs": {"classes": 9}}, "does not fit .*size mismatch"),
        ({"module": f"{tiny_models.PATH}:WholeBatch"}, r"two rows gave \[1, 3\]"),
    ],
)
def test_safetensors_module_that_does_not_fit(folder: Path, signature: Callable, fields: dict, reason: str) -> None:
    safetensors.torch.save_model(Mlp(), str(folder / "model.safetensors"))
    signature(inputs=X, outputs=Y, **fields)
    with pytest.raises(ModelError, match=reason):
        safetensors_module.load(folder, OPTIONS)


def test_an_array_that_is_not_aligned_or_not_contiguous(folder: Path, pt2: bytes, mlp: Mlp, table: tuple) -> None:
    (folder / "model.pt2").write_bytes(pt2)
    servable = torch_export.load(folder, OPTIONS)
    odd = np.frombuffer(b"!" + table[0][:3].tobytes(), np.float32, offset=1).reshape(3, 4)
    backwards = table[0][:3][::-1]
    assert not odd.flags.aligned
    np.testing.assert_array_equal(servable({"x": odd})["output"], expected(mlp, odd))
    np.testing.assert_array_equal(servable({"x": backwards})["output"], expected(mlp, backwards))


def test_a_gpu_that_is_not_there(folder: Path, pt2: bytes) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    (folder / "model.pt2").write_bytes(pt2)
    with pytest.raises(ModelError, match=r"device cuda:0: torch .* sees no GPU; use device cpu"):
        torch_export.load(folder, LoadOptions(device="cuda:0", gpu_fraction=0.5))


def test_exported_programs_load_side_by_side(folder: Path, pt2: bytes) -> None:
    (folder / "model.pt2").write_bytes(pt2)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: torch_export.load(folder, OPTIONS), range(12)))
    assert len(loaded) == 12


class Wide(torch.nn.Module):
    """Large layers that share a weight, one of them without a bias, and one whose weight is used otherwise too."""

    def __init__(self) -> None:
        super().__init__()
        self.tied = torch.nn.Linear(512, 512)
        self.bare = torch.nn.Linear(512, 512, bias=False)
        self.read = torch.nn.Linear(512, 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.tied(self.tied(x.unsqueeze(1)).relu())
        return self.read(self.bare(h)).squeeze(1) + self.read.weight.mean()


class Odd(torch.nn.Module):
    """Large tensors that are no weights of plain layers: unused ones, and layers with biases of other shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(512, 512))
        self.other = torch.nn.Parameter(torch.rand(512, 512))
        self.scalar = torch.nn.Parameter(torch.tensor(3.0))
        self.unused = torch.nn.Parameter(torch.rand(300_000))
        self.register_buffer("mask", torch.ones(1, 1, 1024, 1024, dtype=torch.bool))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        linear = torch.nn.functional.linear
        return linear(x, self.weight, self.scalar) + linear(x, self.other, x * 2)


def test_layers_with_other_biases_stay_as_they_are(folder: Path) -> None:
    module = Odd().eval()
    export(folder, module, torch.rand(3, 512))
    x = np.random.default_rng(0).random((4, 512), np.float32)
    np.testing.assert_array_equal(torch_export.load(folder, OPTIONS)({"x": x})["output"], expected(module, x))


@pytest.mark.parametrize("rows", [1, 16])
def test_large_layers_are_packed_once(folder: Path, rows: int) -> None:
    module = Wide().eval()
    export(folder, module, torch.rand(3, 512))
    servable = torch_export.load(folder, OPTIONS)
    x = np.random.default_rng(0).random((rows, 512), np.float32)
    with torch.profiler.profile() as profile:
        found = servable({"x": x})["output"]
    np.testing.assert_allclose(found, expected(module, x), rtol=1e-3, atol=1e-4)
    calls = {event.key: event.count for event in profile.key_averages()}
    assert calls["mkldnn::_linear_pointwise"] == 3
    assert calls["aten::linear"] == 1
