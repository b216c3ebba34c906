"""The isolation benchmark: its simulation is true to the clock, and its report says what was missed."""

import math

import pytest

from benchmarks.isolation.hedging import Tail
from benchmarks.isolation.overload import CAPACITY, Load, load
from benchmarks.isolation.report import aims, render
from benchmarks.isolation.simulated import Simulation, linear
from benchmarks.isolation.sizes import Served, Sizes
from configs.node_options import Batch


async def test_waiting_and_calls_take_the_time_that_the_cost_says() -> None:
    simulation = await Simulation(lambda rows: 0.1, Batch(max_rows=1), 1.0).run(500)
    answered = [request for request in simulation.requests if request.outcome == "answered"]
    assert len(answered) == pytest.approx(500, rel=0.15)
    assert min(request.seconds for request in answered) == pytest.approx(0.1)
    # Mean wait in a queue with Poisson arrivals and constant service (M/D/1): ρ s / 2 (1 - ρ).
    mean = sum(request.seconds for request in answered) / len(answered)
    assert mean == pytest.approx(0.1 + 0.1 * 0.1 / (2 * 0.9), rel=0.03)


async def test_a_saturated_model_has_full_calls_and_every_request_waits_for_one() -> None:
    simulation = await Simulation(linear(0.01, 0.001, 0, 1), Batch(max_rows=8, max_wait_s=1e9), None).run(2)
    assert {call.rows for call in simulation.calls[1:]} == {8}
    took = [request.seconds for request in simulation.requests if request.outcome == "answered"][20:]
    assert took == pytest.approx([0.036] * len(took))


async def test_three_times_the_capacity() -> None:
    on, off = await load(3.0, True, 3), await load(3.0, False, 3)
    assert on.goodput > 0.9
    assert on.refused == pytest.approx(2 / 3, abs=0.05)
    assert off.goodput < 0.1
    assert CAPACITY == 1600


def tails(cut: float, extra: float) -> tuple[Tail, Tail]:
    slow = (1.0,) * 990 + (10.0,) * 10
    return Tail(False, 1000, 0.0, slow), Tail(True, 1000, extra, tuple(second / cut for second in slow))


@pytest.mark.parametrize(
    ("goodput", "found", "cut", "extra", "missed"),
    [(0.95, 95.0, 6.0, 0.04, 0), (0.8, 95.0, 6.0, 0.04, 1), (0.95, 90.0, 4.0, 0.06, 3)],
)
def test_aims(goodput: float, found: float, cut: float, extra: float, missed: int) -> None:
    sizes = Sizes(0.1, [Served(8, 100, 0.09, 0), Served(16, 150, 0.2, 0.5)], Served(7, found, 0.101, 0.01), [(0, 1)])
    loads = [Load(3.0, True, goodput, 0.6, 0.0), Load(3.0, False, 0.0, 0.0, 1.0)]
    assert [met for *_, met in aims([sizes], loads, *tails(cut, extra))].count(False) == missed
    page = render({"date": "today"}, [sizes], loads, *tails(cut, extra))
    assert page.count("✗") == missed
    assert not math.isnan(sizes.best.rows)
