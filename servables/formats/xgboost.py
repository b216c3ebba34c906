"""XGBoost boosters: .ubj, or model.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ModelError
from configs.tensors import Rows
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import matching, one_line, only_file
from servables.manifest import Manifest, read_manifest
from servables.tabular import Predict, build, classes, on_cpu_only

NAME = "xgboost"
PATTERNS = ("*.ubj", "model.json")


def matches(folder: Path) -> bool:
    """Whether a .ubj file or model.json lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions, manifest: Manifest | None = None) -> Servable:
    """Load the booster; outputs are `label` and `probs`, or `value` unless it classifies. Raises ModelError."""
    on_cpu_only(folder, NAME, options)
    library = require("xgboost", "xgboost")
    path = only_file(folder, PATTERNS)
    booster = library.Booster({"nthread": options.threads, "device": "cpu"})
    try:
        booster.load_model(path)
    except library.core.XGBoostError as error:
        raise ModelError(f"{path} is not an XGBoost model: {one_line(error)}") from error
    return build(folder, manifest or read_manifest(folder), _predict(booster), booster.num_features())


def _predict(booster: Any) -> Predict:
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    if objective == "multi:softmax":  # the same trees; softprob gives all classes' probabilities, not the best class
        booster.set_param({"objective": "multi:softprob"})
    best = booster.attributes().get("best_iteration")  # early stopping: serve what XGBClassifier would
    trees = (0, int(best) + 1) if best is not None else (0, 0)
    classifies = objective in ("binary:logistic", "multi:softmax", "multi:softprob")

    def predict(x: np.ndarray) -> Rows:
        scores = booster.inplace_predict(x, iteration_range=trees)
        return classes(scores) if classifies else {"value": scores}

    return predict
