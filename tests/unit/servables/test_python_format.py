"""Any Python class."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ModelError
from configs.tensors import TensorSpec
from servables.formats import python_class
from tests.unit.servables import tiny_models
from tests.unit.servables.conftest import OPTIONS
from tests.unit.servables.tiny_models import Shifted


def test_python_class(folder: Path, signature: Callable, x: np.ndarray) -> None:
    (folder / "shift.csv").write_text("0.5")
    signature(module=f"{tiny_models.PATH}:Shifted", kwargs={"factor": 2})
    servable = python_class.load(folder, OPTIONS)
    assert servable.signature.outputs == {"y": TensorSpec.model_validate("FP32[-1, 4]")}
    np.testing.assert_array_equal(servable({"x": x})["y"], x * np.float32(2) + np.float32(0.5))
    before = Shifted.closed
    servable.close()
    assert Shifted.closed == before + 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"module": "subprocess:Popen"}, "must declare inputs = "),
        ({"module": "os:getcwd"}, "not a class"),
        ({"module": f"{tiny_models.PATH}:Async"}, "coroutines go into a `call` node"),
        ({"module": f"{tiny_models.PATH}:Shifted"}, "cannot be made with kwargs .*FileNotFoundError"),
    ],
)
def test_python_class_that_cannot_serve(folder: Path, signature: Callable, fields: dict, reason: str) -> None:
    trace = folder.parent / "ran"
    kwargs = {"args": ["touch", str(trace)]} if fields["module"] == "subprocess:Popen" else {}
    signature(**fields, kwargs=kwargs)
    with pytest.raises(ModelError, match=reason):
        python_class.load(folder, OPTIONS)
    assert not trace.exists()
