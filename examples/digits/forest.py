"""A tree ensemble of the digits, exported to ONNX."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import ExtraTreesClassifier

from examples.digits.data import Split

PIXELS = 64
TREES = 60
OPSETS = {"": 17, "ai.onnx.ml": 3}


def train(digits: Split, held_out: Split, folder: Path) -> float:
    """Train, write `model.onnx` into `folder`, and give the accuracy on `held_out`."""
    forest = ExtraTreesClassifier(TREES, random_state=0)
    forest.fit(digits.x.reshape(-1, PIXELS), digits.label)
    onnx.save(_to_onnx(forest), folder / "model.onnx")
    return float(forest.score(held_out.x.reshape(-1, PIXELS), held_out.label))


def _to_onnx(forest: ExtraTreesClassifier) -> onnx.ModelProto:
    """The forest as a graph `x` FP32 [-1, 1, 8, 8] → `probs` FP32 [-1, 10]."""
    model: onnx.ModelProto = convert_sklearn(
        forest,
        name="digits-forest",  # without a name it gets a random one, and the file another digest each time
        initial_types=[("pixels", FloatTensorType([None, PIXELS]))],
        options={"zipmap": False},
        target_opset=OPSETS,
        final_types=[("label", None), ("probs", None)],
    )
    graph = model.graph
    # The same `x` as the network's: the graph itself flattens it. The forest's own labels are dropped.
    graph.node.insert(0, helper.make_node("Flatten", ["x"], ["pixels"], name="flatten", axis=1))
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1, 8, 8]))
    graph.output.append(helper.make_tensor_value_info("probs", TensorProto.FLOAT, ["rows", 10]))
    onnx.checker.check_model(model)
    return model
