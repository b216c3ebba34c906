"""The same models by hand: PyTorch and onnxruntime on one thread, NumPy around them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.online import networks, steps

ROOT = Path(__file__).parents[3]

Predict = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""The input's rows → outputs by name, one number or vector a row. Safe for several threads."""


def digits() -> Predict:
    """`image` UINT8 [-1, 8, 8] → `label` INT64 [-1], `score` FP32 [-1]."""
    torch.set_num_threads(1)
    cnn = torch.export.load(ROOT / "models/digits-cnn/1/model.pt2").module()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    forest = onnxruntime.InferenceSession(
        ROOT / "models/digits-forest/1/model.onnx", options, providers=["CPUExecutionProvider"]
    )

    def predict(image: np.ndarray) -> Mapping[str, np.ndarray]:
        x = image[:, None].astype(np.float32) / 16
        with torch.inference_mode():
            seen = cnn(torch.from_numpy(x)).numpy()
        [voted] = forest.run(["probs"], {"x": x})
        scores = (2 * seen + voted) / 3
        label = scores.argmax(axis=1)
        return {"label": label, "score": scores[np.arange(len(scores)), label]}

    return predict


def network() -> Predict:
    """`x` FP32 [-1, 512] → `y` FP32 [-1, 512]."""
    torch.set_num_threads(1)
    model = networks.batchable(0)

    def predict(x: np.ndarray) -> Mapping[str, np.ndarray]:
        with torch.inference_mode():
            return {"y": model(torch.from_numpy(steps.normalise(x))).numpy()}

    return predict


PREDICTORS: dict[str, Callable[[], Predict]] = {"digits": digits, "network": network}
"""By workload: what loads its models."""
