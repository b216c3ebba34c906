"""Many models behind one node: each row goes to the model that it names, wherever that is loaded."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.support.server import Server

pytestmark = [pytest.mark.timeout(600), pytest.mark.proxy("haproxy")]

MODELS, FIT, SIZE = 12, 4, 50_000


@pytest.fixture(scope="module")
def tenants(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A graph of twelve models, of which four fit into each of two processes; number n adds n."""
    folder = tmp_path_factory.mktemp("tenants")
    for number in range(MODELS):
        publish(folder, f"m{number}", number)
    node = {
        "models": str(folder / "models"),
        "inputs": {"model": "tenant", "x": "x"},
        "max_bytes": int((FIT + 0.5) * SIZE),
        "replicas": 2,
    }
    graph = {
        "name": "tenants",
        "inputs": {"tenant": "BYTES[-1]", "x": "FP32[-1, 2]"},
        "nodes": {"score": node},
        "outputs": {"y": "score.y"},
    }
    path = folder / "tenants.yaml"
    path.write_text(yaml.safe_dump(graph))
    before = server.config
    changed = server.changed(graphs=[*server.config["applications"][0]["args"]["graphs"], str(path)])
    assert server.deploy(changed) == "RUNNING", server.failure()
    server.models = folder  # type: ignore[attr-defined]
    yield server
    assert server.deploy(before) == "RUNNING"


def publish(folder: Path, model: str, amount: float, version: int = 1) -> None:
    """A model that adds a number, with a file that gives it a size."""
    whole = folder / "models" / model / str(version)
    writing = whole.with_name(f"{version}.tmp")
    writing.mkdir(parents=True)
    (writing / "weights.bin").write_bytes(bytes(SIZE))
    manifest = {"module": "tests.support.nodes:Add", "kwargs": {"amount": float(amount)}}
    (writing / "signature.json").write_text(json.dumps(manifest))
    writing.rename(whole)


def ask(server: Server, *models: str) -> list[float]:
    """What models add to zero: one row each."""
    answer = server.request("/tenants", {"tenant": list(models), "x": [[0, 0]] * len(models)})
    assert answer.status == 200, answer.body
    return [row[0] for row in answer.json["y"]]


def test_each_row_goes_to_its_model(tenants: Server) -> None:
    assert ask(tenants, "m3", "m1", "m3", "m0") == [3, 1, 3, 0]
    with ThreadPoolExecutor(8) as pool:
        asked = [number * 7 % MODELS for number in range(60)]
        assert list(pool.map(lambda n: ask(tenants, f"m{n}")[0], asked)) == asked
    metrics = tenants.wait(lambda: pool_metrics(tenants), 30, "the pools' metrics are there")
    assert metrics["evictions"] > 0
    assert metrics["loads"] <= metrics["misses"]


def pool_metrics(server: Server) -> dict[str, float]:
    """Events of the pools of both replicas; empty while models were evicted that no metric tells of."""
    found: dict[str, float] = {}
    for event, value in re.findall(r'ray_millrace_pool_events_total\{.*?event="(\w+)".*?\} (\S+)', server.metrics()):
        found[event] = found.get(event, 0) + float(value)
    return found if "evictions" in found else {}


def test_rows_whose_model_is_unknown_are_named(tenants: Server) -> None:
    answer = tenants.request("/tenants", {"tenant": ["m1", "nobody"], "x": [[0, 0]] * 2})
    assert answer.status == 400
    assert "row 1: there is no model 'nobody'" in answer.json["error"]
    answer = tenants.request("/tenants", {"tenant": ["nobody"], "x": [[0, 0]]})
    assert answer.status == 404
    answer = tenants.request("/tenants", {"tenant": ["../../etc"], "x": [[0, 0]]})
    assert answer.status == 404


def test_a_model_is_named_by_path_or_header(tenants: Server) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]}]}
    by_path = tenants.request("/v2/models/tenants.m5/infer", body)
    assert by_path.status == 200, by_path.body
    assert (by_path.json["model_name"], by_path.json["outputs"][0]["data"]) == ("tenants.m5", [5, 5])
    by_header = tenants.request("/tenants", {"x": [[0, 0]]}, {"x-model": "m6"})
    assert by_header.json["y"] == [[6, 6]]
    assert tenants.request("/v2/models/tenants.m5/ready").status == 200
    assert tenants.request("/v2/models/tenants.nobody/ready").status == 404


def test_new_models_and_versions_answer_without_a_deploy(tenants: Server) -> None:
    folder = tenants.models  # type: ignore[attr-defined]
    assert ask(tenants, "m2") == [2]
    publish(folder, "m2", 102, version=2)
    publish(folder, "later", 77)
    tenants.wait(lambda: ask(tenants, "m2") == [102], 30, "the new version answers")
    tenants.wait(lambda: tenants.request("/v2/models/tenants.later/ready").status == 200, 30, "the new model is there")
    assert ask(tenants, "later") == [77]
