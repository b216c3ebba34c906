"""Kills, restarts, changed and broken configurations under load: no request is lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.grpc_client import infer_request
from tests.support.load import Load, grpc_client, http_client
from tests.support.processes import alive
from tests.support.server import GRAPHS, ROOT, Server

pytestmark = pytest.mark.timeout(600)
once = pytest.mark.proxy("haproxy")
"""For what no proxy takes part in."""
CLIENTS = 6


@pytest.fixture(scope="module")
def restored(server: Server) -> Iterator[None]:
    """The configuration that served before is put back after the tests whose own fails, one after another."""
    yield
    assert server.deploy(server.config) == "RUNNING"


def cascade_load(server: Server) -> Load:
    """Half of each request's rows need the placed node."""
    body, expected = {"x": [[1, 2], [20, 1]]}, {"y": [[101, 102], [21, 2]]}
    request = infer_request("cascade", [("x", "FP32", [1, 2], bytes(8))]).SerializeToString()
    clients = [http_client(f"{server.http}/cascade", body, expected)] * CLIENTS
    return Load([*clients, grpc_client(server.grpc, request)])


@once
def test_a_killed_stage_costs_no_request(server: Server) -> None:
    [(stage, (_, pid))] = server.stages("cascade").items()
    with cascade_load(server) as load:
        os.kill(pid, signal.SIGKILL)
        server.wait(lambda: server.stages("cascade")[stage][1] not in (0, pid), 120, "the stage is back")
        load.wait_for_more(100)
    assert load.failures == []


def test_a_changed_node_gets_a_new_gateway_and_a_new_stage_and_costs_no_request(server: Server, tmp_path: Path) -> None:
    gateways, before = server.replicas("millrace", "gateway"), server.stages()
    graph = yaml.safe_load((ROOT / GRAPHS / "cascade.yaml").read_text())
    graph["nodes"]["big"]["with"] = {"amount": 100, "name": "other"}
    changed = with_graph(server, graph, tmp_path, without="cascade.yaml")
    with cascade_load(server) as load:
        assert server.deploy(changed) == "RUNNING"
        server.wait(lambda: len(server.stages("cascade")) == 1, 60, "the old stage has gone")
        load.wait_for_more(100)
    assert load.failures == []
    after = server.stages()
    assert not set(server.replicas("millrace", "gateway")) & set(gateways)
    assert {name for name, _ in before.items() ^ after.items() if "cascade" not in name} == set()
    assert {name for name in before if "cascade" in name}.isdisjoint(after)
    assert not any(alive(pid) for name, (_, pid) in before.items() if "cascade" in name)


@once
def test_a_corrupt_model_is_a_failed_deployment_and_the_old_application_serves_on(
    server: Server, restored: None, tmp_path: Path
) -> None:
    version = tmp_path / "model" / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"\x08\x07 not a model")
    config = with_graph(server, model_graph(version.parent), tmp_path)
    with cascade_load(server) as load:
        assert server.deploy(config) == "DEPLOY_FAILED"
        load.wait_for_more(100)
    assert load.failures == []
    assert "node net: " in server.failure()
    assert "model.onnx" in server.failure()


@once
def test_a_model_that_wants_a_gpu_where_none_is(server: Server, restored: None, tmp_path: Path) -> None:
    config = with_graph(server, model_graph(ROOT / "models/digits-cnn", gpus=0.25, cpus=0.1), tmp_path)
    assert server.deploy(config) == "DEPLOY_FAILED"
    assert "cuda" in server.failure().lower()
    assert server.request("/digits", {"image": [[[0] * 8] * 8]}).status == 200


@once
def test_a_router_with_a_path_of_ours_is_a_failed_deployment(server: Server, restored: None) -> None:
    assert server.deploy(server.changed(routers=["tests.support.routes:shadowed"])) == "DEPLOY_FAILED"
    assert "has a route for /v2, which is a path of ours" in server.failure()
    assert server.request("/digits", {"image": [[[0] * 8] * 8]}).status == 200


def model_graph(model: Path, **fields: object) -> dict:
    return {
        "name": "extra",
        "inputs": {"x": "FP32[-1, 1, 8, 8]"},
        "nodes": {"net": {"model": str(model), "inputs": {"x": "x"}, "outputs": {"probs": "FP32[-1, 10]"}, **fields}},
        "outputs": {"probs": "net.probs"},
    }


def with_graph(server: Server, graph: dict, folder: Path, without: str = "nothing") -> dict:
    """The server's config with another graph."""
    path = folder / "graph.yaml"
    path.write_text(yaml.safe_dump(graph))
    graphs = [name for name in server.config["applications"][0]["args"]["graphs"] if Path(name).name != without]
    return server.changed(graphs=[*graphs, str(path)])
