"""Loading: signatures come from the artifact and are checked against the graph."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.errors import ConfigError, ModelError
from configs.tensors import Signature
from graphs.check import check_graph
from graphs.executor import Executor
from graphs.instances import load_instance
from graphs.load import signature_of
from graphs.plan import Plan, compile_plan
from servables.base import LoadOptions
from tests.support.graphs import add, config, load_inline


def publish(root: Path, name: str, version: int = 1, amount: float = 1.0, **kwargs: Any) -> None:
    """A version in the `python` format: a class of the user's."""
    folder = root / "models" / name / str(version)
    folder.mkdir(parents=True)
    manifest = {"module": "tests.support.nodes:Add", "kwargs": {"amount": amount, **kwargs}}
    (folder / "signature.json").write_text(json.dumps(manifest))


def loaded(
    root: Path, nodes: dict[str, Any], outputs: dict[str, str], **fields: Any
) -> tuple[Plan, Executor, Signature]:
    plan = compile_plan(check_graph(config(nodes, outputs, **fields), root).flat)
    instances = load_inline(plan, root, LoadOptions())
    signature = signature_of(plan, {name: instance.signature for name, instance in instances.items()})
    return plan, Executor(plan, instances, {}), signature


async def first(executor: Executor, output: str = "y") -> float:
    try:
        outputs, _ = await executor.run({"x": np.array([[1, 1]], np.float32)}, 1)
    finally:
        executor.close()
    return float(outputs[output][0, 0])


async def test_the_newest_version_is_served_unless_one_is_fixed(tmp_path: Path) -> None:
    publish(tmp_path, "m", 9, amount=9)
    publish(tmp_path, "m", 10, amount=10)
    model = {"model": "models/m", "inputs": {"x": "x"}}
    assert await first(loaded(tmp_path, {"m": model}, {"y": "m.y"})[1]) == 11
    assert await first(loaded(tmp_path, {"m": {**model, "version": 9}}, {"y": "m.y"})[1]) == 10


def test_a_models_own_signature_types_the_graph(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    _, executor, signature = loaded(tmp_path, {"m": {"model": "models/m", "inputs": {"x": "x"}}}, {"y": "m.y"})
    executor.close()
    assert {name: str(spec) for name, spec in (signature.outputs or {}).items()} == {"y": "FP32[-1, 2]"}


def test_input_names_that_the_model_does_not_have(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    with pytest.raises(ConfigError, match=r"node m: the graph gives inputs z; the model takes x FP32\[-1, 2\]"):
        loaded(tmp_path, {"m": {"model": "models/m", "inputs": {"z": "x"}}}, {"y": "m.y"})


def test_shapes_that_the_model_cannot_take(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    with pytest.raises(ConfigError, match=r"node m: inputs.x: takes FP32\[-1, 2\], but x is FP32\[-1, 3\]"):
        loaded(tmp_path, {"m": {"model": "models/m", "inputs": {"x": "x"}}}, {"y": "m.y"}, inputs={"x": "FP32[-1, 3]"})


def test_an_output_that_the_model_does_not_give(tmp_path: Path) -> None:
    publish(tmp_path, "m")
    with pytest.raises(ConfigError, match=r"m has no output probs; it gives y"):
        loaded(tmp_path, {"m": {"model": "models/m", "inputs": {"x": "x"}}}, {"y": "m.probs"})


def test_an_output_whose_type_nobody_declares(tmp_path: Path) -> None:
    nodes = {"a": {"call": "tests.support.nodes:refuse_negative", "inputs": {"x": "x"}}}
    with pytest.raises(ConfigError, match=r"nothing declares the datatype and shape of a.y; add `outputs:"):
        loaded(tmp_path, nodes, {"y": "a.y"})


def test_a_model_that_does_not_load_names_node_and_reason(tmp_path: Path) -> None:
    (tmp_path / "models/m/1").mkdir(parents=True)
    (tmp_path / "models/m/1/model.onnx").write_bytes(b"half a model")
    with pytest.raises(ModelError, match=r"node m: .*model.onnx"):
        loaded(tmp_path, {"m": {"model": "models/m", "inputs": {"x": "x"}}}, {"y": "m.y"})


async def test_stacking_feeds_all_members_to_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "models/meta/1"
    folder.mkdir(parents=True)
    (folder / "signature.json").write_text(json.dumps({"module": "tests.support.nodes:SumColumns", "kwargs": {}}))
    nodes = {
        "a": add("x", 1),
        "b": add("x", 10),
        "s": {"ensemble": "stacking", "model": "models/meta", "inputs": {"members": ["a.y", "b.y"]}},
    }
    assert await first(loaded(tmp_path, nodes, {"y": "s.sum"})[1]) == 2 + 2 + 11 + 11


def test_a_version_is_loaded_by_its_number_whatever_the_config_says(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        publish(tmp_path, "m", number, amount=number)
    checked = check_graph(
        config({"m": {"model": "models/m", "inputs": {"x": "x"}, "version": 3}}, {"y": "m.y"}), tmp_path
    )
    assert load_instance(checked.flat.nodes["m"], tmp_path, LoadOptions(), 2).version == "2"


def test_a_failing_warm_up_names_the_node(tmp_path: Path) -> None:
    publish(tmp_path, "m", amount="one")
    with pytest.raises(ModelError, match="node m: warm-up failed"):
        loaded(tmp_path, {"m": {"model": "models/m", "inputs": {"x": "x"}}}, {"y": "m.y"})
