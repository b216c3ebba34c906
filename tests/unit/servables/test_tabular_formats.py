"""scikit-learn, XGBoost, LightGBM."""

from collections.abc import Callable
from pathlib import Path

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from configs.errors import ModelError
from configs.tensors import TensorSpec
from servables.base import LoadOptions
from servables.formats import lightgbm as lightgbm_format
from servables.formats import sklearn as sklearn_format
from servables.formats import xgboost as xgboost_format
from servables.memory import files_memory, memory_of
from tests.unit.servables.conftest import OPTIONS
from tests.unit.servables.test_torch_formats import Payload

TRUSTING = LoadOptions(trust="pickle")


def specs(**texts: str) -> dict[str, TensorSpec]:
    return {name: TensorSpec.model_validate(text) for name, text in texts.items()}


def double(x: np.ndarray) -> np.ndarray:
    return x * 2


@pytest.fixture(scope="module")
def logistic(table: tuple) -> LogisticRegression:
    return LogisticRegression().fit(*table)


@pytest.fixture(scope="module")
def forest(table: tuple) -> RandomForestClassifier:
    return RandomForestClassifier(5, n_jobs=2, random_state=0).fit(*table)


@pytest.fixture(scope="module")
def boosters(table: tuple) -> dict[str, lightgbm.Booster]:
    x, y = table
    targets = {"multiclass": y, "binary": (y > 0).astype(int), "regression": x[:, 0].copy()}
    common = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 2}
    more = {"multiclass": {"num_class": 3}}
    return {
        objective: lightgbm.train(
            {"objective": objective, **common, **more.get(objective, {})}, lightgbm.Dataset(x, label=target), 4
        )
        for objective, target in targets.items()
    }


def test_sklearn_classifier(folder: Path, logistic: LogisticRegression, x: np.ndarray) -> None:
    skops.io.dump(logistic, folder / "model.skops")
    servable = sklearn_format.load(folder, OPTIONS)
    assert servable.signature.inputs == specs(x="FP32[-1, 4]")
    assert servable.signature.outputs == specs(label="INT64[-1]", probs="FP32[-1, 3]")
    found = servable({"x": x})
    np.testing.assert_array_equal(found["label"], logistic.predict(x))
    np.testing.assert_array_equal(found["probs"], logistic.predict_proba(x).astype(np.float32))


def test_sklearn_regressor_clusters_and_text_labels(folder: Path, table: tuple, x: np.ndarray) -> None:
    data, classes = table
    path = folder / "model.skops"
    regressor = LinearRegression().fit(data, data.sum(1))
    skops.io.dump(regressor, path)
    servable = sklearn_format.load(folder, OPTIONS)
    assert servable.signature.outputs == specs(value="FP32[-1]")
    np.testing.assert_allclose(servable({"x": x})["value"], regressor.predict(x), rtol=1e-6)

    clusters = KMeans(2, n_init=1, random_state=0).fit(data)
    skops.io.dump(clusters, path)
    np.testing.assert_array_equal(sklearn_format.load(folder, OPTIONS)({"x": x})["label"], clusters.predict(x))

    words = make_pipeline(StandardScaler(), LogisticRegression()).fit(data, np.array(["no", "sí", "?"])[classes])
    skops.io.dump(words, path)
    servable = sklearn_format.load(folder, OPTIONS)
    assert servable.signature.outputs == specs(label="BYTES[-1]", probs="FP32[-1, 3]")
    assert [label.decode() for label in servable({"x": x})["label"]] == list(words.predict(x))


def test_sklearn_text_input_and_rows_of_more_dimensions(
    folder: Path, signature: Callable, logistic: LogisticRegression, table: tuple
) -> None:
    skops.io.dump(logistic, folder / "model.skops")
    signature(inputs={"image": {"datatype": "FP32", "shape": [-1, 2, 2]}})
    found = sklearn_format.load(folder, OPTIONS)({"image": table[0][:7].reshape(7, 2, 2)})
    np.testing.assert_array_equal(found["label"], logistic.predict(table[0][:7]))
    signature(inputs={"image": {"datatype": "FP32", "shape": [-1, 3, 3]}})
    with pytest.raises(ModelError, match="gives image 9 values a row, but the model has 4 features"):
        sklearn_format.load(folder, OPTIONS)

    reader = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good day", "bad day"], [1, 0])
    skops.io.dump(reader, folder / "model.skops")
    (folder / "signature.json").unlink()
    with pytest.raises(ModelError, match="does not say its number of features; give `inputs`"):
        sklearn_format.load(folder, OPTIONS)
    signature(inputs={"text": {"datatype": "BYTES", "shape": [-1]}})
    texts = np.array([b"a good one", b"a bad one"], object)
    np.testing.assert_array_equal(sklearn_format.load(folder, OPTIONS)({"text": texts})["label"], [1, 0])


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl"])
def test_a_pickle_is_opened_only_when_trusted(
    folder: Path, forest: RandomForestClassifier, table: tuple, name: str
) -> None:
    trace = folder.parent / "ran"
    joblib.dump(Payload(trace), folder / name)
    with pytest.raises(ModelError, match=r"is a pickle, which can run any code.*`trust: pickle`"):
        sklearn_format.load(folder, OPTIONS)
    assert not trace.exists()
    with pytest.raises(ModelError, match="has no predict"):
        sklearn_format.load(folder, TRUSTING)
    assert trace.exists(), "the payload would have left a trace"
    joblib.dump(forest, folder / name)
    found = sklearn_format.load(folder, TRUSTING)({"x": table[0]})
    np.testing.assert_array_equal(found["probs"], forest.predict_proba(table[0]).astype(np.float32))


def test_what_pickle_cannot_write_counts_as_its_files(folder: Path, table: tuple) -> None:
    model = make_pipeline(FunctionTransformer(lambda x: x * 2), LogisticRegression()).fit(*table)
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
    servable = sklearn_format.load(folder, TRUSTING)
    np.testing.assert_array_equal(servable({"x": table[0]})["label"], model.predict(table[0]))
    assert memory_of(servable, folder) == files_memory(folder)


def test_skops_names_the_types_that_it_does_not_know(
    folder: Path, table: tuple, forest: RandomForestClassifier
) -> None:
    skops.io.dump(forest, folder / "model.skops")
    with pytest.raises(ModelError, match=r"not known to be safe: sklearn\.tree\._tree\.Tree; export the model to ONNX"):
        sklearn_format.load(folder, OPTIONS)
    model = make_pipeline(FunctionTransformer(double), LogisticRegression()).fit(*table)
    skops.io.dump(model, folder / "model.skops")
    with pytest.raises(ModelError, match=r"not known to be safe: .*double; .*`trust: pickle`"):
        sklearn_format.load(folder, OPTIONS)
    found = sklearn_format.load(folder, TRUSTING)({"x": table[0]})
    np.testing.assert_array_equal(found["label"], model.predict(table[0]))


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
@pytest.mark.parametrize("name", ["model.ubj", "model.json"])
def test_xgboost_classifier(folder: Path, table: tuple, x: np.ndarray, objective: str, name: str) -> None:
    params = {"objective": objective, "num_class": 3, "nthread": 1}
    data = xgboost.DMatrix(table[0], label=table[1])
    booster = xgboost.train(params, data, 4)
    booster.save_model(folder / name)
    servable = xgboost_format.load(folder, OPTIONS)
    assert servable.signature.inputs == specs(x="FP32[-1, 4]")
    found = servable({"x": x})
    probs = xgboost.train(params | {"objective": "multi:softprob"}, data, 4).predict(xgboost.DMatrix(x))
    np.testing.assert_array_equal(found["probs"], probs)
    np.testing.assert_array_equal(found["label"], probs.argmax(1))


def test_xgboost_binary_with_early_stopping_is_what_its_classifier_says(
    folder: Path, table: tuple, x: np.ndarray
) -> None:
    data, y = table[0], (table[1] > 0).astype(int)
    model = xgboost.XGBClassifier(n_estimators=30, early_stopping_rounds=1, n_jobs=1, learning_rate=1.0)
    model.fit(data[:80], y[:80], eval_set=[(data[80:], y[80:])], verbose=False)
    assert model.best_iteration < 20
    model.save_model(folder / "model.ubj")
    found = xgboost_format.load(folder, OPTIONS)({"x": x})
    np.testing.assert_allclose(found["probs"], model.predict_proba(x), rtol=1e-6)
    np.testing.assert_array_equal(found["label"], model.predict(x))


def test_xgboost_regression(folder: Path, table: tuple, x: np.ndarray) -> None:
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(table[0], label=table[0][:, 1]), 3)
    booster.save_model(folder / "model.ubj")
    servable = xgboost_format.load(folder, OPTIONS)
    assert servable.signature.outputs == specs(value="FP32[-1]")
    np.testing.assert_array_equal(servable({"x": x})["value"], booster.predict(xgboost.DMatrix(x)))


def test_lightgbm_multiclass(folder: Path, boosters: dict, x: np.ndarray) -> None:
    boosters["multiclass"].save_model(folder / "model.txt")
    servable = lightgbm_format.load(folder, OPTIONS)
    assert servable.signature.outputs == specs(label="INT64[-1]", probs="FP32[-1, 3]")
    found, probs = servable({"x": x}), boosters["multiclass"].predict(x)
    np.testing.assert_array_equal(found["probs"], probs.astype(np.float32))
    np.testing.assert_array_equal(found["label"], probs.argmax(1))


def test_lightgbm_binary_and_regression(folder: Path, boosters: dict, x: np.ndarray) -> None:
    boosters["binary"].save_model(folder / "tiny.lgb")
    found, second = lightgbm_format.load(folder, OPTIONS)({"x": x}), boosters["binary"].predict(x)
    np.testing.assert_array_equal(found["probs"], np.stack([1 - second, second], 1).astype(np.float32))
    np.testing.assert_array_equal(found["label"], second > 0.5)
    boosters["regression"].save_model(folder / "tiny.lgb")
    servable = lightgbm_format.load(folder, OPTIONS)
    assert servable.signature.outputs == specs(value="FP32[-1]")
    np.testing.assert_allclose(servable({"x": x})["value"], boosters["regression"].predict(x), rtol=1e-6)


def test_a_cut_off_lightgbm_file_does_not_end_the_process(folder: Path, boosters: dict) -> None:
    path = folder / "model.txt"
    boosters["multiclass"].save_model(path)
    text = path.read_bytes()
    for share in (0.1, 0.3, 0.5, 0.7):
        path.write_bytes(text[: int(len(text) * share)])
        with pytest.raises(ModelError, match=r"is not a LightGBM model|is damaged|is cut off or damaged"):
            lightgbm_format.load(folder, OPTIONS)


@pytest.mark.parametrize("adapter", [sklearn_format, xgboost_format, lightgbm_format])
def test_these_formats_refuse_a_gpu(folder: Path, adapter: object) -> None:
    with pytest.raises(ModelError, match=r"run on the CPU, not on cuda:0; remove `gpus`"):
        adapter.load(folder, LoadOptions(device="cuda:0"))  # type: ignore[attr-defined]
