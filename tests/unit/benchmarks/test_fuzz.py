"""A short run of the fuzz, and the proof that it would tell."""

from dataclasses import replace

import pytest

from benchmarks.fuzz import campaign
from benchmarks.fuzz.campaign import drive, made
from benchmarks.fuzz.doors import DOORS
from configs.errors import InvalidInput
from deployments.protocols.request import InferRequest


@pytest.mark.parametrize("name", sorted(DOORS.keys() - {"bombs"}))
def test_valid_bodies_are_accepted(name: str) -> None:
    for body, header in DOORS[name].seeds:
        DOORS[name].run(body, header)


def test_a_short_run_finds_nothing() -> None:
    found = drive(7, range(3000), [0, 0])
    assert found.failures == {}
    assert {door for door, _ in found.outcomes} == set(DOORS)
    assert sum(found.outcomes.values()) == 3000


def test_an_input_can_be_made_again() -> None:
    assert [made(3, index) for index in range(50)] == [made(3, index) for index in range(50)]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("x"), "plain: KeyError at test_fuzz.py"),
        (InvalidInput("x" * 5000), "plain: InvalidInput with a message of 5000 characters"),
        (InvalidInput("\ud800"), "plain: a message that cannot be sent"),
    ],
)
def test_whatever_else_is_raised_is_found(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(body: bytes, header: str) -> InferRequest:
        raise error

    monkeypatch.setitem(campaign.DOORS, "plain", replace(DOORS["plain"], read=broken))
    index = next(index for index in range(1000) if made(0, index)[0] == "plain")
    [(where, again)] = drive(0, range(index, index + 1), [0, 0]).failures.items()
    assert where.startswith(words)
    assert again.startswith(f"--seed 0 --only {index}")
