"""scikit-learn estimators: .skops; .joblib and .pkl only with `trust: pickle`."""

from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ModelError
from configs.tensors import Rows
from servables.base import LoadOptions, Servable
from servables.extras import require
from servables.files import matching, only_file
from servables.manifest import Manifest, read_manifest
from servables.memory import Memory, of_arrays
from servables.tabular import Predict, build, on_cpu_only

NAME = "sklearn"
PATTERNS = ("*.skops", "*.joblib", "*.pkl")


def matches(folder: Path) -> bool:
    """Whether a .skops, .joblib or .pkl file lies in the folder."""
    return bool(matching(folder, PATTERNS))


def load(folder: Path, options: LoadOptions, manifest: Manifest | None = None) -> Servable:
    """Load the estimator; outputs are `label` and `probs`, or `value` for a regressor. Raises ModelError."""
    on_cpu_only(folder, NAME, options)
    require("sklearn", "sklearn")
    path = only_file(folder, PATTERNS)
    estimator = _skops(path, options) if path.suffix == ".skops" else _pickle(path, options)
    if not hasattr(estimator, "predict"):
        raise ModelError(f"{path} holds a {type(estimator).__name__}, which has no predict")
    _set_threads(estimator, options.threads)
    features = getattr(estimator, "n_features_in_", None)
    return build(folder, manifest or read_manifest(folder), _predict(estimator), features, _memory(estimator))


def _skops(path: Path, options: LoadOptions) -> Any:
    """skops vouches for most of scikit-learn, but not for its trees: their memory is loaded unchecked."""
    skops = require("skops.io", "sklearn")
    unknown = skops.get_untrusted_types(file=path)
    if unknown and options.trust != "pickle":
        remedy = "export the model to ONNX, or set `trust: pickle` if you trust whoever made the file"
        raise ModelError(f"{path} holds types that are not known to be safe: {', '.join(unknown)}; {remedy}")
    return skops.load(path, trusted=unknown)


def _pickle(path: Path, options: LoadOptions) -> Any:
    if options.trust != "pickle":
        remedy = "save it with skops.io.dump, or set `trust: pickle` if you trust whoever made the file"
        raise ModelError(f"{path} is a pickle, which can run any code when it is opened; {remedy}")
    return require("joblib", "sklearn").load(path)


def _set_threads(estimator: Any, threads: int) -> None:
    """BLAS and OpenMP of this process, and every `n_jobs` inside the estimator."""
    require("threadpoolctl", "sklearn").threadpool_limits(threads)
    if hasattr(estimator, "get_params"):
        jobs = [name for name in estimator.get_params() if name == "n_jobs" or name.endswith("__n_jobs")]
        estimator.set_params(**dict.fromkeys(jobs, threads))


def _memory(estimator: Any) -> Memory | None:
    """What it tells; None where pickle cannot write it, as a lambda, which came here by cloudpickle."""
    try:
        return of_arrays(estimator)
    except Exception:  # noqa: BLE001 - code of all that it consists of; what cannot be measured still predicts
        return None


def _predict(estimator: Any) -> Predict:
    base = require("sklearn.base", "sklearn")
    # label is not taken from the largest probability: for some classifiers (SVC, tuned thresholds) they differ
    scores = getattr(estimator, "predict_proba", None)
    name = "value" if base.is_regressor(estimator) else "label"

    def predict(x: np.ndarray) -> Rows:
        found = {name: _encoded(estimator.predict(x), name)}
        if scores is not None:
            found["probs"] = np.asarray(scores(x), np.float32)
        return found

    return predict


def _encoded(values: np.ndarray, name: str) -> np.ndarray:
    if name == "value":
        return np.asarray(values, np.float32)
    if values.dtype.kind in "OSU":
        return np.array([str(value).encode() for value in values.ravel()], object).reshape(values.shape)
    return values
