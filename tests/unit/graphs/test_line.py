"""The line: priority, then deadline, then arrival; those who left or are late are passed over; nobody starves."""

import math
from dataclasses import dataclass, field

from graphs.line import AGEING_S, Line, rank
from graphs.terms import Terms


@dataclass
class Guest:
    name: str
    terms: Terms = field(default_factory=Terms)
    arrived: float = 0.0
    left: bool = False


def guest(name: str, priority: int = 10, deadline: float = math.inf, arrived: float = 0.0) -> Guest:
    return Guest(name, Terms(deadline, priority), arrived)


def line_of(*guests: Guest) -> Line[Guest]:
    line: Line[Guest] = Line()
    for one in guests:
        line.join(one)
    return line


def names(guests: list[Guest]) -> str:
    return "".join(one.name for one in guests)


def everyone(line: Line[Guest], now: float = 0.0) -> str:
    return names(line.take(now, lambda _: True)[0])


def test_priority_comes_before_deadline_and_deadline_before_arrival() -> None:
    line = line_of(guest("c"), guest("d"), guest("b", deadline=9), guest("a", priority=1, deadline=99))
    assert everyone(line) == "abcd"


def test_waiting_is_worth_priority_so_nobody_starves() -> None:
    line = line_of(*(guest("x", priority=1, arrived=i * AGEING_S) for i in range(200)), guest("o", priority=100))
    assert everyone(line).index("o") == 100


def test_a_rank_never_changes_while_its_owner_waits() -> None:
    terms = Terms(priority=3)
    assert rank(terms, 7.2) == rank(terms, 7.9) == rank(Terms(priority=4), 6.5)


def test_taking_stops_at_the_first_that_does_not_fit() -> None:
    line = line_of(guest("a"), guest("B"), guest("c"))
    assert names(line.take(0, lambda one: one.name.islower())[0]) == "a"
    assert everyone(line) == "Bc"


def test_the_expired_are_told_apart_and_who_left_is_forgotten() -> None:
    gone, late = guest("g"), guest("l", deadline=5)
    gone.left = True
    line = line_of(gone, late, guest("a", deadline=6))
    taken, expired = line.take(5, lambda _: True)
    assert (names(taken), names(expired), len(line)) == ("a", "l", 0)


def test_a_long_line_does_not_keep_those_that_no_longer_wait_until_their_turn() -> None:
    line = line_of(*(guest("a", priority=1) for _ in range(3)))
    for _ in range(1000):
        gone = guest("g", priority=50)
        line.join(gone)
        gone.left = True
    line.join(guest("l", priority=50, deadline=5))
    taken, expired = line.take(6, lambda one: False)
    assert (taken, names(expired), len(line)) == ([], "l", 3)
