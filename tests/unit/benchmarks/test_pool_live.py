"""The pure parts of the live benchmark of many models: what is asked for, and what is said of the answers."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.pool.live.judge import Latencies, judge
from benchmarks.pool.live.load import Sent
from benchmarks.pool.live.models import FAMILIES, MODELS, WIDTH
from benchmarks.pool.live.plan import POPULAR, Part, asks, parts
from benchmarks.pool.live.plot import draw
from benchmarks.pool.live.report import aims, grouped, render
from benchmarks.pool.live.run import Measured, without_load
from benchmarks.pool.live.servers import SERVERS, Told, told_by
from benchmarks.pool.live.watch import Sample

ZIPF, CALM = Part(calm=False, seconds=60), Part(calm=True, seconds=60)
SIZES, LIMIT = [1] * MODELS, 20


def sent(at: float, model: int, took: float = 0.1, right: bool = True, part: int = 0) -> Sent:
    return Sent(model, part, at, at, at + took, right)


def test_calm_parts_ask_for_popular_models_alone_and_the_others_for_all() -> None:
    turns = parts(cycles=2, calm_s=20, zipf_s=30)
    assert [part.calm for part in turns if part.counts] == [True, False, True, False]
    plan = asks(turns, MODELS, rate=40, seed=1)
    assert plan == sorted(plan)
    assert {ask.model for ask in plan if turns[ask.part].calm} == set(range(POPULAR))
    zipf = [ask.model for ask in plan if not turns[ask.part].calm]
    assert len(set(zipf)) > 100
    assert 40 * 70 * 0.9 < len(zipf) < 40 * 70 * 1.1


def test_a_model_is_surely_loaded_if_few_others_were_used_since_it_answered() -> None:
    first, again = sent(0, 1, took=1.0), sent(20, 1, took=2.0)
    few = [sent(2 + model, model) for model in range(100, 110)]
    found = judge([first, *few, again], [ZIPF], SIZES, LIMIT)
    assert found.warm == [2.0]
    assert found.cold == [1.0, *[pytest.approx(0.1)] * 10]
    more = [*few, sent(15, 110)]
    assert judge([first, *more, again], [ZIPF], SIZES, LIMIT).warm == []
    assert judge([first, *few, again], [ZIPF], [2] * MODELS, LIMIT).warm == []


def test_a_model_is_surely_gone_if_as_many_others_were_used_as_fit() -> None:
    others = [sent(2 + model / 100, model) for model in range(100, 120)]
    found = judge([sent(0, 1), *others, sent(20, 1, took=2.0)], [ZIPF], SIZES, LIMIT)
    assert found.cold[-1] == 2.0
    found = judge([sent(0, 1), *others[1:], sent(20, 1, took=2.0)], [ZIPF], SIZES, LIMIT)
    assert 2.0 not in found.cold + found.warm


def test_what_may_share_a_load_is_left_out_as_are_answers_that_are_not_right() -> None:
    sharing = [sent(0, 1, took=5.0), sent(1, 1, took=4.0)]
    assert judge(sharing, [ZIPF], SIZES, LIMIT) == Latencies([], [], [5.0])
    assert judge([sent(0, 1), sent(1, 1, right=False)], [ZIPF], SIZES, LIMIT).warm == []


def test_what_was_asked_for_before_counts_from_part_to_part() -> None:
    filling = Part(calm=False, seconds=1, counts=False)
    requests = [sent(0, 1), sent(1, 1, took=3.0, part=1), sent(5, 2, part=1)]
    found = judge(requests, [filling, CALM], SIZES, LIMIT)
    assert (found.calm, found.warm) == ([3.0], [])


def test_loads_are_shared_among_the_requests_for_all_models() -> None:
    requests = [sent(at, 1, part=at % 2) for at in range(20)]
    assert without_load(4, requests, [ZIPF, CALM]) == pytest.approx(0.6)


def test_the_pools_metrics_are_read() -> None:
    text = """\
ray_millrace_pool_events_total{event="hits",graph="onnx",node="one"} 30.0
ray_millrace_pool_events_total{event="loads",graph="forest",node="one"} 9.0
ray_millrace_pool_events_total{event="loads",graph="onnx",node="one"} 12.0
ray_millrace_pool_bytes{graph="onnx",memory="gpu",node="one"} 0.0
ray_millrace_pool_bytes{graph="onnx",memory="host",node="one"} 5.9e+07
"""
    assert told_by(text, "onnx") == Told(12, 59_000_000)
    with pytest.raises(LookupError, match="pool_bytes"):
        told_by(text, "forest")


def measured(server: str, warm_s: float) -> Measured:
    found = Latencies([0.01, 0.02], [0.01, warm_s], [0.1])
    samples = [Sample(1.0, 50, 300), Sample(2.0, 60, 400)]
    wrong = Counter({"HTTP 503": 1}) if server == "threads" else Counter[str]()
    return Measured(server, "onnx", 60, 100, wrong, 0.54, 0.6, found, [0.001], samples, 0.4, 0.1, 1.0)


def test_the_page_compares_the_servers_and_says_what_is_aimed_at(tmp_path: Path) -> None:
    groups = grouped([measured(server, warm_s) for server, warm_s in (("threads", 0.2), ("millrace", 0.03))])
    assert [server for _, server in groups] == ["millrace", "threads"]
    assert [met for *_, met in aims(groups)] == [True] * 4
    page = render({"cores": "2"}, "python -m …", groups)
    assert "| HTTP 503 | 1 |" in page
    assert "54.0% | 60.0% |" in page
    draw(groups, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_an_aim_that_cannot_be_computed_is_not_met() -> None:
    one = measured("millrace", math.nan)
    assert [met for *_, met in aims({("onnx", "millrace"): [one]})] == [True, True, True, False]


def test_every_model_has_an_answer_of_its_own(tmp_path: Path) -> None:
    from benchmarks.pool.live import models  # here, as scikit-learn takes a second

    family = FAMILIES["onnx"]
    for number in range(3):
        models._write_onnx(tmp_path / f"{number}.onnx", number, 1e6)
    answers = [family.load(tmp_path / f"{number}.onnx")(np.ones((1, WIDTH), np.float32)) for number in range(3)]
    assert not np.allclose(answers[0], answers[1])
    assert not np.allclose(answers[1], answers[2])
    assert (tmp_path / "0.onnx").stat().st_size == pytest.approx(1e6, rel=0.1)
    assert SERVERS.keys() == {"millrace", "multiplexed", "threads"}
