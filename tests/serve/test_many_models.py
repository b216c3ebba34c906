"""Many models behind one node: each row goes to the model that it names, wherever that is loaded."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.server import Server
from tests.support.shared import TENANTS
from tests.support.tenants import MODELS, publish

pytestmark = [pytest.mark.timeout(600), pytest.mark.proxy("haproxy")]


def ask(server: Server, *models: str) -> list[float]:
    """What models add to zero: one row each."""
    answer = server.request("/tenants", {"tenant": list(models), "x": [[0, 0]] * len(models)})
    assert answer.status == 200, answer.body
    return [row[0] for row in answer.json["y"]]


def test_each_row_goes_to_its_model(server: Server) -> None:
    assert ask(server, "m3", "m1", "m3", "m0") == [3, 1, 3, 0]
    with ThreadPoolExecutor(8) as pool:
        asked = [number * 7 % MODELS for number in range(60)]
        assert list(pool.map(lambda n: ask(server, f"m{n}")[0], asked)) == asked
    metrics = server.wait(lambda: pool_metrics(server), 30, "the pools' metrics are there")
    assert metrics["evictions"] > 0
    assert metrics["loads"] <= metrics["misses"]


def pool_metrics(server: Server) -> dict[str, float]:
    """Events of the pools of both replicas; empty while models were evicted that no metric tells of."""
    found: dict[str, float] = {}
    for event, value in re.findall(r'ray_millrace_pool_events_total\{.*?event="(\w+)".*?\} (\S+)', server.metrics()):
        found[event] = found.get(event, 0) + float(value)
    return found if "evictions" in found else {}


def test_rows_whose_model_is_unknown_are_named(server: Server) -> None:
    answer = server.request("/tenants", {"tenant": ["m1", "nobody"], "x": [[0, 0]] * 2})
    assert answer.status == 400
    assert "row 1: Request for unknown model: 'nobody' is not found" in answer.json["error"]
    answer = server.request("/tenants", {"tenant": ["nobody"], "x": [[0, 0]]})
    assert answer.status == 404
    answer = server.request("/tenants", {"tenant": ["../../etc"], "x": [[0, 0]]})
    assert answer.status == 404


def test_a_model_is_named_by_path_or_header(server: Server) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]}]}
    by_path = server.request("/v2/models/tenants.m5/infer", body)
    assert by_path.status == 200, by_path.body
    assert (by_path.json["model_name"], by_path.json["outputs"][0]["data"]) == ("tenants.m5", [5, 5])
    by_header = server.request("/tenants", {"x": [[0, 0]]}, {"x-model": "m6"})
    assert by_header.json["y"] == [[6, 6]]
    assert server.request("/v2/models/tenants.m5/ready").status == 200
    assert server.request("/v2/models/tenants.nobody/ready").status == 404


def test_new_models_and_versions_answer_without_a_deploy(server: Server) -> None:
    folder = server.folder / TENANTS
    assert ask(server, "m2") == [2]
    publish(folder, "m2", 102, version=2)
    publish(folder, "later", 77)
    server.wait(lambda: ask(server, "m2") == [102], 30, "the new version answers")
    server.wait(lambda: server.request("/v2/models/tenants.later/ready").status == 200, 30, "the new model is there")
    assert ask(server, "later") == [77]
