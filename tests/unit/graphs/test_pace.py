"""The pace: fixed and per-row seconds from calls that were made, and what that says of waiting."""

import math
import random

import pytest

from graphs.pace import Pace


def learnt(*calls: tuple[int, float]) -> Pace:
    pace = Pace()
    for rows, seconds in calls:
        pace.note(rows, seconds)
    return pace


def test_nothing_is_known_before_the_first_call() -> None:
    assert (Pace().seconds(100), Pace().wait_s(100, 8)) == (0, 0)


def test_calls_of_one_size_promise_the_same_for_all() -> None:
    pace = learnt((4, 0.2), (4, 0.2))
    assert pace.seconds(64) == pytest.approx(0.2)
    assert pace.rows(1) == math.inf
    assert pace.rows(0.1) == pytest.approx(2)


def test_fixed_and_per_row_seconds_are_told_apart() -> None:
    chance = random.Random(1)
    sizes = [chance.randint(1, 64) for _ in range(100)]
    pace = learnt(*((rows, (0.01 + 0.001 * rows) * chance.uniform(0.9, 1.1)) for rows in sizes))
    assert pace.seconds(0) == pytest.approx(0.01, abs=0.004)
    assert pace.seconds(64) == pytest.approx(0.074, rel=0.1)
    assert pace.rows(0.074) == pytest.approx(64, rel=0.1)


def test_waiting_is_full_calls_and_a_rest() -> None:
    pace = learnt(*((rows, 0.01 + 0.001 * rows) for rows in (1, 8) * 20))
    assert pace.wait_s(19, 8) == pytest.approx(2 * 0.018 + 0.013)
    assert pace.wait_s(16, 8) == pytest.approx(2 * 0.018)


def test_larger_calls_that_were_quicker_do_not_make_time_negative() -> None:
    pace = learnt((1, 0.5), (64, 0.01))
    assert 0 <= pace.seconds(1000) <= 0.5
    assert pace.seconds(1) >= 0


def test_while_sizes_are_alike_noise_does_not_turn_the_line() -> None:
    chance = random.Random(1)
    pace = learnt(*((rows, 0.01 + 0.001 * rows) for rows in (1, 8, 64) * 10))
    for _ in range(500):
        rows = chance.randint(60, 64)
        pace.note(rows, (0.02 + 0.002 * rows) * chance.uniform(0.7, 1.3))
        assert 0.004 < pace.seconds(1) < 0.04
    assert pace.seconds(62) == pytest.approx(0.144, rel=0.1)


def test_old_calls_are_forgotten() -> None:
    pace = learnt(*[(8, 0.1)] * 50, *[(8, 0.4)] * 150)
    assert pace.seconds(8) == pytest.approx(0.4, rel=0.05)


def test_a_slow_first_call_is_soon_forgotten() -> None:
    assert learnt((1, 30.0), *[(1, 0.01)] * 15).seconds(1) < 0.02


def test_a_call_that_hung_is_not_expected_again_and_slower_calls_are() -> None:
    pace = learnt(*[(4, 0.01)] * 5, (1, 2.0))
    assert pace.seconds(4) < 0.02
    pace = learnt(*[(4, 0.01)] * 5, *[(4, 2.0)] * 50)
    assert pace.seconds(4) > 1


def test_a_first_call_that_compiled_is_forgotten_with_the_second() -> None:
    assert learnt((1, 2.0)).seconds(1) == pytest.approx(2.0)
    assert learnt((1, 2.0), (1, 0.01)).seconds(1) == pytest.approx(0.01)
