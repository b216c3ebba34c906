"""LightGBM boosters: model.txt or .lgb, the text that `Booster.save_model` writes."""

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

NAME = "lightgbm"
PATTERNS = ("model.txt", "*.lgb")

_END = b"end of trees\n"


def matches(folder: Path) -> bool:
    """Whether model.txt or an .lgb file lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions, manifest: Manifest | None = None) -> Servable:
    """Load the booster; outputs are `label` and `probs`, or `value` unless it classifies. Raises ModelError."""
    on_cpu_only(folder, NAME, options)
    library = require("lightgbm", "lightgbm")
    path = only_file(folder, PATTERNS)
    text = path.read_bytes()
    header = _header(path, text)
    try:
        booster = library.Booster(model_str=text.decode())
    except (library.basic.LightGBMError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not a LightGBM model: {one_line(error)}") from error
    objective = header.get("objective", "").partition(" ")[0]
    return build(
        folder, manifest or read_manifest(folder), _predict(booster, objective, options.threads), booster.num_feature()
    )


def _header(path: Path, text: bytes) -> dict[str, str]:
    """The lines before the first tree. Raises ModelError unless all trees are there.

    LightGBM 4.7 ends the whole process (SIGABRT) when it reads a tree that was cut off, so the sizes that the
    header announces are compared with what follows it.
    """
    head, _, body = text.partition(b"\n\n")
    lines = head.decode(errors="replace").splitlines()
    header = dict(line.split("=", 1) for line in lines if "=" in line)
    if lines[:1] != ["tree"] or "tree_sizes" not in header:
        raise ModelError(f"{path} is not a LightGBM model; save one with Booster.save_model")
    start = 0
    for number, size in enumerate(header["tree_sizes"].split()):
        if not body.startswith(b"Tree=%d\n" % number, start):
            raise ModelError(f"{path} is damaged: tree {number} is not where it should be")
        start += int(size)
    if not body.startswith(_END, start):
        raise ModelError(f"{path} is cut off or damaged: it does not hold all trees of its header")
    return header


def _predict(booster: Any, objective: str, threads: int) -> Predict:
    classifies = objective in ("binary", "multiclass", "multiclassova")

    def predict(x: np.ndarray) -> Rows:
        scores = booster.predict(x, num_threads=threads)
        return classes(scores) if classifies else {"value": scores.astype(np.float32)}

    return predict
