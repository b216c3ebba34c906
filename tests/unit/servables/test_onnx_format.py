"""ONNX by onnxruntime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, save_model
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from configs.errors import ModelError, RowErrors
from configs.tensors import TensorSpec
from servables.base import LoadOptions
from servables.formats import onnx as onnx_format
from tests.unit.servables.conftest import OPTIONS


def write(folder: Path, operator: str, datatype: int, shape: list, out_shape: list | None) -> None:
    """One operator from `x` to `y`."""
    x, y = (helper.make_tensor_value_info(n, datatype, s) for n, s in (("x", shape), ("y", out_shape)))
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "tiny", [x], [y])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "m.onnx")


def test_onnx(folder: Path, table: tuple, x: np.ndarray) -> None:
    model = LogisticRegression().fit(*table)
    content = to_onnx(model, table[0][:1], options={"zipmap": False}).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    servable = onnx_format.load(folder, OPTIONS)
    assert servable.signature.inputs == {"X": TensorSpec.model_validate("FP32[-1, 4]")}
    label, probs = onnxruntime.InferenceSession(content).run(None, {"X": x})
    found = servable({"X": x})
    np.testing.assert_array_equal(found["label"], label)
    np.testing.assert_array_equal(found["probabilities"], probs)
    servable.close()


def test_zipmap_is_refused_with_the_remedy(folder: Path, table: tuple) -> None:
    content = to_onnx(LogisticRegression().fit(*table), table[0][:1]).SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"output_probability is seq\(map.*\{'zipmap': False\}"):
        onnx_format.load(folder, OPTIONS)


def test_text_is_utf8_on_both_sides(folder: Path) -> None:
    write(folder, "Identity", TensorProto.STRING, ["n", 2], ["n", 2])
    texts = np.array([[b"caf\xc3\xa9", b""], [b"x", b"y"]], object)
    servable = onnx_format.load(folder, OPTIONS)
    np.testing.assert_array_equal(servable({"x": texts})["y"], texts)
    with pytest.raises(RowErrors, match="row 1: x: "):
        servable({"x": np.array([[b"a", b"b"], [b"\xff", b"c"]], object)})


def test_fixed_rows_are_refused(folder: Path) -> None:
    write(folder, "Relu", TensorProto.FLOAT, [1, 4], [1, 4])
    with pytest.raises(ModelError, match=r"input x has a fixed number of rows \(1\); export with a dynamic first"):
        onnx_format.load(folder, OPTIONS)


def test_types_that_numpy_does_not_have_are_refused(folder: Path) -> None:
    write(folder, "Identity", TensorProto.BFLOAT16, ["n", 4], ["n", 4])
    with pytest.raises(ModelError, match=r"input x is tensor\(bfloat16\), not a tensor of NumPy's types"):
        onnx_format.load(folder, OPTIONS)


def test_signature_json_is_cross_checked(folder: Path, signature: Callable) -> None:
    write(folder, "Relu", TensorProto.FLOAT, ["n", "w"], ["n", "w"])
    signature(inputs={"x": {"datatype": "FP32", "shape": [-1, 4], "description": "four"}})
    assert onnx_format.load(folder, OPTIONS).signature.inputs["x"].description == "four"
    signature(inputs={"x": {"datatype": "FP64", "shape": [-1, 4]}})
    with pytest.raises(ModelError, match=r"gives inputs x: FP64\[-1, 4\], but the model has x: FP32\[-1, -1\]"):
        onnx_format.load(folder, OPTIONS)


def test_gpu_memory_is_capped_to_the_fraction() -> None:
    options = LoadOptions(device="cuda:1", gpu_fraction=0.25)
    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    chosen = onnx_format.providers(options, available, lambda index: {1: 8_000_000}[index])
    assert chosen[0] == ("CUDAExecutionProvider", {"device_id": 1, "gpu_mem_limit": 2_000_000})
    with pytest.raises(ModelError, match="this onnxruntime has no CUDA; install onnxruntime-gpu, or use cpu"):
        onnx_format.providers(options, ["CPUExecutionProvider"], lambda _: 0)
