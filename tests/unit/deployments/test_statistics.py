"""Statistics add up what the doors count, in Triton's form."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from configs.errors import InvalidInput
from deployments import recorder
from deployments.recorder import Recorder
from deployments.statistics import Statistics
from graphs.run import NodeTiming

NONE = {"count": 0, "ns": 0}


def of(statistics: Statistics, graph: str) -> dict[str, Any]:
    models: list[dict[str, Any]] = statistics.document("1", graph)["model_stats"]
    assert len(models) == 1
    return models[0]


def test_sums_of_a_graph() -> None:
    statistics = Statistics(["g", "h"])
    before = time.time()
    lead, rider = NodeTiming("n", 0.25, 0.25, 1.0, 3), NodeTiming("n", 0.5, 0.0, 1.0, 3, leads=False)
    statistics.answered("g", 2.0, 2, [lead, NodeTiming("m", 0, 0, 0.5, 2)])
    statistics.answered("g", 4.0, 1, [rider])
    statistics.failed("g", 8.0)
    model = of(statistics, "g")
    assert before * 1e3 - 1 <= model.pop("last_inference") <= time.time() * 1e3
    batches = [(batch["batch_size"], batch["compute_infer"]) for batch in model.pop("batch_stats")]
    assert batches == [(2, {"count": 1, "ns": 500_000_000}), (3, {"count": 1, "ns": 1_000_000_000})]
    assert model == {
        "name": "g",
        "version": "1",
        "inference_count": 3,
        "execution_count": 1,
        "inference_stats": {
            "success": {"count": 2, "ns": 6_000_000_000},
            "fail": {"count": 1, "ns": 8_000_000_000},
            "queue": {"count": 2, "ns": 1_000_000_000},
            "compute_input": NONE,
            "compute_infer": {"count": 2, "ns": 2_500_000_000},
            "compute_output": NONE,
            "cache_hit": NONE,
            "cache_miss": NONE,
        },
    }


def test_all_graphs_in_order_of_their_names() -> None:
    statistics = Statistics(["h", "g"])
    statistics.failed("made up", 1.0)
    models = statistics.document("1")["model_stats"]
    assert [(model["name"], model["last_inference"]) for model in models] == [("g", 0), ("h", 0)]
    assert models[0]["inference_stats"]["fail"] == NONE


async def test_the_recorder_feeds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ignore = SimpleNamespace(inc=lambda *_: None, observe=lambda *_: None, set=lambda *_: None)
    monkeypatch.setattr(recorder, "ray_metric", lambda metric: ignore)
    noted = Recorder({"g": SimpleNamespace(waiting=0)})  # type: ignore[dict-item]
    noted.answered("g", "v2-grpc", 0.5, [], rows=4)
    noted.failed("g", "v2-http", InvalidInput("x"), "400", 0.25)
    noted.failed("made up", "v2-http", InvalidInput("x"), "404", 0.25)
    await noted.close()
    model = of(noted.statistics, "g")
    assert model["inference_count"] == 4
    assert model["execution_count"] == 1
    assert model["inference_stats"]["success"] == {"count": 1, "ns": 500_000_000}
    assert model["inference_stats"]["fail"] == {"count": 1, "ns": 250_000_000}
