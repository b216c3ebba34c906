"""What a job's processes book of a cluster."""

from pathlib import Path

import pytest

from configs.errors import ConfigError
from configs.graph import GraphConfig
from configs.node_options import Replicas
from graphs.check import check_graph
from graphs.plan import compile_plan
from jobs.chain import Link, chain, for_a_job
from jobs.cluster import fitted

CALL = "tests.unit.jobs.test_job:double"


def links(**placed: object) -> list[Link]:
    """A link that is not placed, and one that is."""
    nodes = {
        "a": {"call": CALL, "inputs": {"x": "x"}, "outputs": {"y": "INT64[-1]"}},
        "b": {"call": CALL, "inputs": {"x": "a.y"}, "outputs": {"y": "INT64[-1]"}, "isolate": True, **placed},
    }
    graph = {"name": "g", "inputs": {"x": "INT64[-1]"}, "nodes": nodes, "outputs": {"y": "b.y"}}
    flat = check_graph(GraphConfig.model_validate(graph), Path.cwd()).flat
    two = Replicas.model_validate({"min": 2, "max": 2})
    return chain(compile_plan(for_a_job(flat, {})), 1.0, two)


@pytest.mark.parametrize(("cpus", "booked"), [(8, [1.0, 1.5]), (2, [0.25, 1.5])])
def test_what_is_not_placed_books_less_where_there_is_little(
    cpus: float, booked: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": cpus})
    assert [link.cpus for link in fitted(links(cpus=1.5))] == booked


@pytest.mark.parametrize(
    ("placed", "message"),
    [
        ({"cpus": 2}, "placed nodes book 2 CPUs, 2 other processes need 0.1 each, and Ray has 2; give"),
        ({"gpus": 0.25}, "book 0.25 GPUs, and Ray has 0; take a --profile without, as `cpu`"),
    ],
)
def test_what_does_not_fit_is_said(placed: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(ConfigError, match=message):
        fitted(links(**placed))
