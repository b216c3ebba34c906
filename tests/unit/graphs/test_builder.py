"""The Python builder gives the same checked graph as YAML."""

from pathlib import Path

import pytest
import yaml

from configs.errors import ConfigError
from configs.graph import GraphConfig
from graphs.builder import GraphBuilder
from tests.support.nodes import Add, positive


def test_the_demo_built_in_python_equals_its_yaml() -> None:
    graph = GraphBuilder("digits")
    image = graph.input("image", "UINT8[-1, 8, 8]")
    scale = graph.call("scale", "examples.digits.nodes:Scale", image=image)
    placed = {"gpus": 0.25, "replicas": {"min": 1, "max": 4}, "batch": {"max_rows": 64}}
    cnn = graph.model("cnn", "models/digits-cnn", placed, x=scale.x)
    forest = graph.model("forest", "models/digits-forest", x=scale.x)
    vote = graph.ensemble("vote", "weighted_mean", [cnn.probs, forest.probs], weights=[2, 1])
    top = graph.call("top", "graphs.nodes:TopK", with_={"k": 1}, scores=vote.mean)
    graph.output(label=top.label, score=top.score)
    built, written = graph.config(), GraphConfig.model_validate(yaml.safe_load(Path("configs/digits.yaml").read_text()))
    assert built.nodes == written.nodes
    assert built.outputs == written.outputs


def test_lookups_and_indexes() -> None:
    graph = GraphBuilder("g")
    user = graph.input("user", "BYTES[-1]")
    vector = graph.lookup("vector", "lookups/vectors", key=user)
    near = graph.retrieve("near", "indexes/items", {"cpus": 1}, vector=vector.value, k=5)
    items = graph.lookup("items", "lookups/items", key=user, otherwise={"ids": near.ids})
    graph.output(ids=items.ids)
    assert graph.config().model_dump(by_alias=True, exclude_unset=True)["nodes"] == {
        "vector": {"lookup": "lookups/vectors", "inputs": {"key": "user"}},
        "near": {"retrieve": "indexes/items", "inputs": {"vector": "vector.value"}, "k": 5, "cpus": 1},
        "items": {"lookup": "lookups/items", "inputs": {"key": "user"}, "otherwise": {"ids": "near.ids"}},
    }


def test_code_is_named_by_its_import_path() -> None:
    graph = GraphBuilder("g")
    x = graph.input("x", "FP32[-1, 2]")
    plus = graph.call("plus", Add, with_={"amount": 2}, x=x)
    sign = graph.switch("sign", positive, {"true": {"y": plus.y}, "false": {"y": x}}, x=x)
    graph.output(y=sign.y)
    nodes = graph.config().model_dump(by_alias=True)["nodes"]
    assert nodes["plus"]["call"] == "tests.support.nodes:Add"
    assert nodes["sign"]["switch"] == "tests.support.nodes:positive"


def test_code_that_other_processes_cannot_import() -> None:
    with pytest.raises(ConfigError, match="cannot be imported by other processes"):
        GraphBuilder("g").call("a", lambda x: x, x="x")


def test_two_nodes_of_one_name() -> None:
    graph = GraphBuilder("g")
    graph.call("a", Add, x="x")
    with pytest.raises(ConfigError, match="two nodes are called a"):
        graph.call("a", Add, x="x")
