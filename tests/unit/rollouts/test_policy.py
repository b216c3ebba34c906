"""What a policy wants, what a rollback can go to, how long a failed version waits, which moves there are."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from configs.versions import Versions
from rollouts.backoff import MOST_S, delay_s
from rollouts.life import MOVES, Life, Phase
from rollouts.policy import Wish, previous, wanted
from tests.unit.rollouts.world import key

LIVES = [Life(key(number)) for number in (1, 2, 3, 10)]


@pytest.mark.parametrize(
    ("policy", "numbers"),
    [
        ({}, [10]),
        ({"latest": 2}, [10, 3]),
        ({"latest": 9}, [10, 3, 2, 1]),
        ({"all": True}, [10, 3, 2, 1]),
        ({"only": [1, 3, 7]}, [3, 1]),
    ],
)
def test_what_is_wanted_the_best_first(policy: dict[str, Any], numbers: list[int]) -> None:
    assert [life.key.number for life in wanted(LIVES, Wish(Versions(**policy)))] == numbers


@pytest.mark.parametrize(("latest", "numbers"), [(1, [10, 3]), (2, [10, 3, 2])])
def test_a_version_that_failed_takes_nobodys_place(latest: int, numbers: list[int]) -> None:
    lives = [replace(life, failures=life.key.number == 10) for life in LIVES]
    assert [life.key.number for life in wanted(lives, Wish(Versions(latest=latest)))] == numbers


def test_what_its_source_no_longer_has_is_not_wanted() -> None:
    lives = [replace(life, published=life.key.number != 10) for life in LIVES]
    assert [life.key.number for life in wanted(lives, Wish())] == [3]


def test_a_pin_outdoes_the_policy() -> None:
    assert [life.key.number for life in wanted(LIVES, Wish(Versions(only=[10]), pin=2))] == [2]


def test_a_pin_on_what_is_gone_holds_nobody_up() -> None:
    gone = Life(key(4), Phase.UNLOADED, revision=5, published=False)
    assert [life.key.number for life in wanted([*LIVES, gone], Wish(pin=4))] == [10]


def test_of_a_number_that_is_published_again_the_new_content_is_pinned() -> None:
    old, new = Life(key(1, "b"), Phase.ROUTED, revision=5, published=False, current=True), Life(key(1, "a"))
    assert wanted([old, new], Wish(pin=1)) == [new]
    assert wanted([old], Wish(pin=1)) == [old]


def test_a_rollback_can_go_to_what_had_the_traffic_and_is_in_memory() -> None:
    lives = [
        Life(key(1), Phase.READY, revision=4),
        Life(key(2), Phase.DRAINING, revision=9),
        Life(key(3), Phase.UNLOADED, revision=7),
        Life(key(4), Phase.READY),
        Life(key(5), Phase.ROUTED, revision=9, current=True),
    ]
    assert [life.key.number for life in previous(lives)] == [2, 1]


@pytest.mark.parametrize("given", [{"latest": 1, "all": True}, {"all": True, "only": [1]}, {"latest": 0}, {"only": []}])
def test_a_policy_says_one_thing(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Versions(**given)


def test_waiting_doubles_up_to_a_limit_and_is_never_short() -> None:
    assert [delay_s(failures, 1.0) for failures in range(4)] == [1, 2, 4, 8]
    assert [delay_s(failures, 0.0) for failures in range(4)] == [0.5, 1, 2, 4]
    assert delay_s(10_000, 1.0) == MOST_S


def test_a_move_that_there_is_not_names_both_phases() -> None:
    with pytest.raises(ValueError, match=r"digits.cnn version 1 is discovered: it cannot become routed"):
        Life(key(1)).moved(Phase.ROUTED)


def test_only_what_is_ready_or_was_routed_is_routed() -> None:
    assert {phase for phase, after in MOVES.items() if Phase.ROUTED in after} == {Phase.READY, Phase.DRAINING}


def test_what_has_the_traffic_can_only_lose_it_or_its_processes() -> None:
    assert MOVES[Phase.ROUTED] == {Phase.DRAINING, Phase.DISCOVERED}


def test_a_failure_is_forgotten_when_the_version_is_ready() -> None:
    failed = Life(key(1), Phase.LOADED).failed("no memory", 100.0, lambda: 1.0)
    assert (failed.phase, failed.reason, failed.failures, failed.retry_at) == (Phase.FAILED, "no memory", 1, 101.0)
    again = replace(failed, phase=Phase.WARMED_UP)
    assert again.moved(Phase.READY) == Life(key(1), Phase.READY)


def test_what_could_not_be_freed_is_still_being_freed() -> None:
    failed = Life(key(1), Phase.UNLOADING).failed("no answer", 100.0, lambda: 1.0)
    assert (failed.phase, failed.retry_at) == (Phase.UNLOADING, 101.0)
