"""The models that are asked for: two families of 200 of 1 to 5 MB, each with an answer that no other one gives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestRegressor

from servables.push import push_model

MODELS, FIT = 200, 20
LEAST_BYTES, MOST_BYTES = 1e6, 5e6
WIDTH = 16
"""Numbers in a row."""
ROW = np.random.default_rng(0).random((1, WIDTH), np.float32)
"""What every model is asked."""
_TREES, _LEAF_BYTES = 50, 144
"""A leaf comes with an inner node; scikit-learn keeps 64 bytes and a number for each."""
_FORESTS = 5
"""That are trained: the others have the trees of one of them, with other numbers in the leaves."""

Predict = Callable[[np.ndarray], np.ndarray]
"""FP32 [rows, WIDTH] → [rows] or [rows, …]."""


@dataclass(frozen=True)
class Family:
    """Models of one format."""

    name: str
    file: str
    output: str
    """What Millrace calls the output."""
    load: Callable[[Path], Predict]
    """As one writes it by hand, with one thread."""
    rate: float
    """Requests a second."""
    about: str


@dataclass(frozen=True)
class Model:
    """One that was made."""

    name: str
    size: int
    """Bytes of its file."""
    answer: np.ndarray
    """To `ROW`."""


def load_onnx(path: Path) -> Predict:
    """A session; onnxruntime works outside of Python's lock."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["y"], {"x": x})[0]  # type: ignore[no-any-return]


def load_forest(path: Path) -> Predict:
    """A forest; loading and calling it is a good deal of Python."""
    predict: Predict = joblib.load(path).predict
    return predict


FAMILIES = {
    "onnx": Family("onnx", "model.onnx", "y", load_onnx, 40.0, "perceptrons, onnxruntime"),
    "forest": Family("forest", "model.joblib", "value", load_forest, 10.0, "forests of 50 trees, scikit-learn"),
}


def make(family: Family, root: Path) -> list[Model]:
    """All models of a family below a folder, as `millrace models push` puts them; the most popular one first."""
    sizes = np.random.default_rng(7).uniform(LEAST_BYTES, MOST_BYTES, MODELS)
    made = []
    for (number, write), size in zip(enumerate(_writers(family)), sizes, strict=True):
        name = f"m{number:03}"
        with TemporaryDirectory() as folder:
            write(Path(folder) / family.file, number, float(size))
            push_model(Path(folder), name, root, 1, options=None)
        path = file_of(family, root, name)
        made.append(Model(name, path.stat().st_size, family.load(path)(ROW)))
    return made


def file_of(family: Family, root: Path, model: str) -> Path:
    """Where a model lies."""
    return root / model / "1" / family.file


Write = Callable[[Path, int, float], None]
"""Path, number of the model, about how many bytes."""


def _writers(family: Family) -> Iterator[Write]:
    forests = [_train(size) for size in _forest_sizes()] if family.name == "forest" else []
    for _ in range(MODELS):
        yield partial(_write_forest, forests) if forests else _write_onnx


def _write_onnx(path: Path, number: int, size: float) -> None:
    hidden = int((size / 4) ** 0.5) - WIDTH
    random = np.random.default_rng(number)
    shapes = {"a": (WIDTH, hidden), "b": (hidden, hidden), "c": (hidden, 4)}
    weights = [
        numpy_helper.from_array((random.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    names = ["x", "p", "q", "r", "s", "y"]
    kinds = [("MatMul", "a"), ("Relu", ""), ("MatMul", "b"), ("Relu", ""), ("MatMul", "c")]
    nodes = [
        helper.make_node(kind, [names[at], weight] if weight else [names[at]], [names[at + 1]])
        for at, (kind, weight) in enumerate(kinds)
    ]
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["rows", w]) for n, w in (("x", WIDTH), ("y", 4))]
    graph = helper.make_graph(nodes, "perceptron", sides[:1], sides[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    path.write_bytes(model.SerializeToString())


def _forest_sizes() -> np.ndarray:
    return np.linspace(LEAST_BYTES, MOST_BYTES, _FORESTS)


def _train(size: float) -> RandomForestRegressor:
    random = np.random.default_rng(1)
    x = random.random((3000, WIDTH), np.float32)
    y = np.sin(7 * x[:, 0]) + x[:, 1:].sum(axis=1)
    return RandomForestRegressor(_TREES, max_leaf_nodes=int(size / _TREES / _LEAF_BYTES), random_state=1).fit(x, y)


def _write_forest(forests: list[RandomForestRegressor], path: Path, number: int, size: float) -> None:
    forest: Any = forests[int(np.abs(_forest_sizes() - size).argmin())]
    kept = [tree.tree_.value.copy() for tree in forest.estimators_]
    for tree in forest.estimators_:
        tree.tree_.value[...] += number
    joblib.dump(forest, path)
    for tree, value in zip(forest.estimators_, kept, strict=True):
        tree.tree_.value[...] = value
