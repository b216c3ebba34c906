import pytest

from configs.errors import RequestError, Unsupported
from configs.tensors import Datatype
from deployments.protocols import repository
from deployments.protocols.model_config import data_type, model_config
from tests.unit.deployments.protocols.samples import signature


def test_a_graph_in_tritons_words() -> None:
    config = model_config("g", signature(x="BYTES[-1]", y="FP32[-1, -1, 3]"), "millrace_graph", 64, False)
    assert (config["name"], config["max_batch_size"], config["platform"]) == ("g", 64, "millrace_graph")
    assert config["model_transaction_policy"] == {"decoupled": False}
    assert config["input"] == config["output"]
    assert config["input"] == [
        {"name": "x", "data_type": "TYPE_STRING", "dims": []},
        {"name": "y", "data_type": "TYPE_FP32", "dims": [-1, 3]},
    ]


def test_data_types_are_those_of_tritons_own_client() -> None:
    from tritonclient.grpc import model_config_pb2

    assert {data_type(datatype) for datatype in Datatype} <= set(model_config_pb2.DataType.keys())


def test_the_repository_holds_what_is_served() -> None:
    assert repository.index({"b", "a"}, "1") == [
        {"name": "a", "version": "1", "state": "READY", "reason": ""},
        {"name": "b", "version": "1", "state": "READY", "reason": ""},
    ]
    repository.load("a", {"a"}, {})
    with pytest.raises(RequestError, match="failed to load 'x', this server has a"):
        repository.load("x", {"a"}, {})
    with pytest.raises(Unsupported, match="cannot be loaded with 'config' of the request"):
        repository.load("a", {"a"}, {"config": "{}"})
    assert "cannot be unloaded" in repository.unload("a").message
