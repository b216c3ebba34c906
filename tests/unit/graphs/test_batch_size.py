"""The batch size under a latency objective: finds the largest that keeps it, and is not thrown back by stalls."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from graphs.batch_size import BatchSize
from graphs.pace import Pace


def serve(size: BatchSize, pace: Pace, calls: int, cost: Callable[[int], float], rows: int | None = None) -> list[int]:
    """Sizes that were allowed; each call is as large as allowed, or of `rows`."""
    sizes = []
    for _ in range(calls):
        sizes.append(size.rows)
        used = min(size.rows, rows or size.rows)
        seconds = cost(used)
        pace.note(used, seconds)
        size.note(used, seconds)
    return sizes


def made(most: int = 256, p99_s: float = 0.1) -> tuple[BatchSize, Pace]:
    pace = Pace()
    return BatchSize(most, p99_s, pace), pace


def steady(rows: int) -> float:
    return 0.008 + 0.0005 * rows


def noisy(seed: int) -> Callable[[int], float]:
    chance = random.Random(seed)
    return lambda rows: steady(rows) * chance.lognormvariate(-0.005, 0.1)


def test_it_doubles_until_the_first_late_call() -> None:
    assert serve(*made(), 8, steady)[:8] == [1, 2, 4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize("seed", range(3))
def test_it_settles_near_the_largest_size_that_keeps_the_objective(seed: int) -> None:
    sizes = serve(*made(), 4000, noisy(seed))[1000:]
    assert sum(sizes) / len(sizes) == pytest.approx(69, rel=0.1)  # 2 calls x 1.165 (p99 of their mean) are 0.1 s


@pytest.mark.parametrize("seed", range(3))
def test_about_one_call_in_a_hundred_is_late(seed: int) -> None:
    size, pace, cost = *made(), noisy(seed)
    late, before = 0, 0.0
    serve(size, pace, 500, cost)
    for _ in range(4000):
        rows, seconds = size.rows, cost(size.rows)
        pace.note(rows, seconds)
        size.note(rows, seconds)
        late += before + seconds > 0.1
        before = seconds
    assert 0.004 < late / 4000 < 0.02


def test_it_never_exceeds_the_limit_of_rows() -> None:
    assert max(serve(*made(most=16), 50, steady)) == 16


def test_small_calls_in_time_say_nothing_of_larger_ones() -> None:
    size, pace = made()
    serve(size, pace, 5, steady)
    assert len(set(serve(size, pace, 100, steady, rows=3))) == 1


def test_it_shrinks_when_the_model_becomes_slower() -> None:
    size, pace = made()
    serve(size, pace, 1000, steady)
    assert serve(size, pace, 100, lambda rows: 4 * steady(rows))[-1] < 10


def test_a_stall_in_light_traffic_does_not_throw_it_back_to_one_row() -> None:
    size, pace = made()
    serve(size, pace, 1000, steady)
    serve(size, pace, 100, steady, rows=2)
    serve(size, pace, 1, lambda rows: 2.0, rows=2)
    assert serve(size, pace, 20, steady, rows=2)[-1] >= 15


@pytest.mark.parametrize("seed", range(3))
def test_once_settled_it_never_jumps(seed: int) -> None:
    sizes = serve(*made(), 5000, noisy(seed))[1000:]
    assert max(after - before for before, after in pairwise(sizes)) == 1


def test_an_objective_that_cannot_be_kept_leaves_calls_of_one_row() -> None:
    assert serve(*made(p99_s=0.001), 50, steady)[-1] == 1
