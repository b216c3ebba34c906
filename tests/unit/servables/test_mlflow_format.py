"""Models as MLflow writes them: safe ones by our adapters, the rest by MLflow's loader and only when trusted."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from configs.errors import ModelError, RowErrors
from configs.tensors import Datatype, TensorSpec
from servables.base import LoadOptions
from servables.load import detect, load_servable
from servables.mlmodel import plain_name, read_mlmodel
from tests.unit.servables.tiny_models import Mlp

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
Table = tuple[np.ndarray, np.ndarray]
TRUSTING = LoadOptions(trust="pickle")
NAMES = ["sepal length (cm)", "b", "c", "4th"]
BARE: dict[str, Any] = {"pip_requirements": []}
"""Without it MLflow looks which packages a model needs, which takes seconds."""


@pytest.fixture
def saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A model written by a flavour of MLflow's, as the version `folder`."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(folder.parent)  # nothing of ours may leave a database there

    def save(flavour: str, model: Any = None, x: Any = None, y: Any = None, **kwargs: Any) -> Path:
        from mlflow.models import infer_signature

        if x is not None:
            kwargs["signature"] = infer_signature(x, y)
        given = {} if model is None else {{"onnx": "onnx_model", "pytorch": "pytorch_model"}.get(flavour, "m"): model}
        if "m" in given:
            given = {{"sklearn": "sk_model", "xgboost": "xgb_model", "lightgbm": "lgb_model"}[flavour]: model}
        getattr(mlflow, flavour).save_model(**given, path=str(folder), **BARE, **kwargs)
        assert sorted(path.name for path in folder.parent.iterdir()) == ["1"]
        return folder

    return save


def frame(x: np.ndarray) -> Any:
    import pandas

    return pandas.DataFrame(x, columns=NAMES)


def columns(x: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(["sepal_length_cm", "b", "c", "_4th"], np.ascontiguousarray(x.T), strict=True))


def test_onnx_is_read_by_our_adapter(saved: Any, table: Table) -> None:
    from skl2onnx import to_onnx

    x, y = table
    exported = to_onnx(LogisticRegression().fit(x, y), x[:1], options={"zipmap": False})
    folder = saved("onnx", exported, x, y)
    servable = load_servable(folder, LoadOptions())
    assert detect(folder).NAME == "mlflow"
    assert servable.signature.inputs == {"X": TensorSpec(datatype=Datatype.FP32, shape=(-1, 4))}
    assert servable({"X": x})["label"].shape == (120,)


def test_a_tensor_keeps_its_datatype(saved: Any, table: Table) -> None:
    x, y = table[0].astype(np.float64), table[1]
    model = LogisticRegression().fit(x, y)
    servable = load_servable(saved("sklearn", model, x, y, serialization_format="skops"), LoadOptions())
    assert servable.signature.inputs == {"x": TensorSpec(datatype=Datatype.FP64, shape=(-1, 4))}
    assert (servable({"x": x})["label"] == model.predict(x)).all()


def test_each_named_column_is_an_input(saved: Any, table: Table) -> None:
    import xgboost

    x, y = table
    model = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(x, y)
    servable = load_servable(saved("xgboost", model, frame(x), y, model_format="ubj"), LoadOptions())
    assert servable.signature.inputs == dict.fromkeys(columns(x), TensorSpec(datatype=Datatype.FP32, shape=(-1,)))
    assert (servable(columns(x))["label"] == model.predict(x)).all()
    servable.close()


def test_signature_json_takes_columns_together(saved: Any, table: Table) -> None:
    import lightgbm

    x, y = table
    params = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    model = lightgbm.train(params, lightgbm.Dataset(x, label=y), 3)
    folder = saved("lightgbm", model, frame(x), y)
    (folder / "signature.json").write_text(json.dumps({"inputs": {"all": {"datatype": "FP32", "shape": [-1, 4]}}}))
    servable = load_servable(folder, LoadOptions())
    assert (servable({"all": x})["label"] == model.predict(x).argmax(1)).all()


def test_an_exported_pytorch_program(folder: Path, pt2: bytes, mlp: Mlp, table: Table) -> None:
    """As `mlflow.pytorch.save_model(…, serialization_format="pt2")` writes it, which takes it many seconds."""
    (folder / "data").mkdir()
    (folder / "data" / "model.pt2").write_bytes(pt2)
    (folder / "MLmodel").write_text("flavors: {pytorch: {model_data: data, pytorch_version: 2.13.0, code: null}}")
    x = table[0]
    found = load_servable(folder, LoadOptions())({"x": x})
    assert np.allclose(found["output"], mlp(torch.from_numpy(x)).detach(), atol=1e-5)


def test_a_pickled_pytorch_module_needs_trust(saved: Any, mlp: Mlp, table: Table) -> None:
    x = table[0]
    signature = {"outputs": {"y": {"datatype": "FP32", "shape": [-1, 3]}}}
    folder = saved("pytorch", mlp, x, mlp(torch.from_numpy(x)).detach().numpy(), serialization_format="pickle")
    (folder / "signature.json").write_text(json.dumps(signature))
    with pytest.raises(ModelError, match=r"pickled, which can run any code .*serialization_format='pt2'"):
        load_servable(folder, LoadOptions())
    servable = load_servable(folder, TRUSTING)
    assert np.allclose(servable({"x": x})["y"], mlp(torch.from_numpy(x)).detach(), atol=1e-5)


def test_text_columns_need_mlflows_loader(saved: Any) -> None:
    import pandas

    x = pandas.DataFrame({"colour": ["red", "green", "red", "blue"], "name": list("abcd")})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(x, [1, 0, 1, 0])
    folder = saved("sklearn", model, x, model.predict(x), serialization_format="cloudpickle")
    with pytest.raises(ModelError, match=r"only MLflow's own loader opens .*log it as ONNX .*trust: pickle"):
        load_servable(folder, LoadOptions())
    servable = load_servable(folder, TRUSTING)
    rows = {name: np.array([text.encode() for text in x[name]], object) for name in x.columns}
    assert (servable(rows)["output"] == model.predict(x)).all()
    assert servable.signature.outputs == {"output": TensorSpec(datatype=Datatype.INT64, shape=(-1,))}
    rows["name"][2] = b"\xff"
    with pytest.raises(RowErrors, match="row 2: name: 'utf-8' codec can't decode byte 0xff in position 0"):
        servable(rows)
    servable.close()


def test_pyfunc(saved: Any, table: Table) -> None:
    class Doubles(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return {"twice": model_input * 2, "said": ["é"] * len(model_input)}

    x = table[0]
    folder = saved("pyfunc", None, x, x, python_model=Doubles())
    found = load_servable(folder, TRUSTING)({"x": x})
    assert np.allclose(found["twice"], x * 2)
    assert list(found["said"][:1]) == ["é".encode()]
    with pytest.raises(ModelError, match="run on the CPU"):
        load_servable(folder, LoadOptions(trust="pickle", device="cuda:0"))


def test_a_models_own_code_leaves_nothing_in_its_version(
    saved: Any, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "path", sys.path[:])
    code = "class Same:\n    predict = staticmethod(lambda x: x)\n\n_load_pyfunc = lambda path: Same"
    (tmp_path / "its_own_code.py").write_text(code)
    x, paths = table[0], [str(tmp_path / "its_own_code.py")]
    folder = saved("pyfunc", None, x, x, loader_module="its_own_code", code_paths=paths)
    load_servable(folder, TRUSTING).close()
    assert not list(folder.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("flavors: [", "no description of a model"),
        ("a text", "no description of a model"),
        ("!!python/object/apply:os.system ['true']", "no description of a model"),
        ("flavors: {}\nsignature: {inputs: 'null and void'}", "no description of a model"),
        ("flavors: {python_function: {}}", "only MLflow's own loader opens"),
        ("flavors: {pytorch: {model_data: ../../../../etc}}", "that MLflow pickled"),
        ('flavors: {}\nsignature: {inputs: \'[{"type": "datetime", "name": "t"}]\'}', "type datetime"),
        (
            'flavors: {}\nsignature: {inputs: \'[{"type": "long", "name": "a b"}, {"type": "long", "name": "a-b"}]\'}',
            "would both be 'a_b'",
        ),
        (
            'flavors: {}\nsignature: {inputs: \'[{"type": "tensor", "tensor-spec": '
            '{"dtype": "float32", "shape": [5]}}]\'}',
            "log the model with rows first",
        ),
    ],
)
def test_what_is_wrong_with_a_description(folder: Path, content: str, says: str) -> None:
    (folder / "MLmodel").write_text(content)
    with pytest.raises(ModelError, match=says):
        load_servable(folder, LoadOptions())


def test_columns_without_names_are_one_input(folder: Path) -> None:
    inputs = json.dumps([{"type": "double"}] * 3)
    (folder / "MLmodel").write_text(f"flavors: {{}}\nsignature: {{inputs: '{inputs}'}}")
    assert read_mlmodel(folder).inputs["x"].spec == TensorSpec(datatype=Datatype.FP64, shape=(-1, 3))


def test_names_that_a_graph_can_use() -> None:
    assert [plain_name(name) for name in ("petal (cm)", "4th", "é", "ok_1")] == ["petal_cm", "_4th", "x", "ok_1"]
