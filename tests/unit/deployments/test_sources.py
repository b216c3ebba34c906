"""What control makes of sources that answer, refuse, or say nothing."""

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from configs.errors import ModelError, NotAnswered
from configs.versions import Versions
from deployments.catalogue import Offer
from deployments.sources import FIRST_ANSWER_S, Sources, logger
from rollouts.life import Key

NAME = "g.m"
KEY = Key(NAME, 1, "a")


class Shop:
    """One servable, whose source answers what a test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.answer: Callable[[float], Offer] = lambda now: Offer(frozenset({KEY}))
        served: Any = SimpleNamespace(
            name=NAME,
            policy=Versions(),
            policy_now=lambda aliases, before: Versions(only=[before]) if before else Versions(),  # type: ignore[call-arg]
            published=lambda now: self.answer(now),
        )
        self.sources = Sources({NAME: served}, lambda: self.now)

    async def look(self, raises: Exception | None = None, routes: dict[str, Key] | None = None) -> None:
        def answer(now: float) -> Offer:
            if raises is not None:
                raise raises
            return Offer(frozenset({KEY}), ["version 2 is half-written"])

        self.answer = answer
        await self.sources.look(routes or {})


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_a_source_that_has_not_answered_is_waited_for_but_not_for_ever(shop: Shop) -> None:
    assert shop.sources.may_yet_answer(NAME)
    await shop.look(NotAnswered("not yet"))
    assert (shop.sources.published, shop.sources.said) == ({}, {NAME: "not yet"})
    shop.now += FIRST_ANSWER_S - 1
    await shop.look(NotAnswered("not yet"))
    assert shop.sources.may_yet_answer(NAME)
    shop.now += 1
    assert not shop.sources.may_yet_answer(NAME)


@pytest.mark.parametrize("error", [None, ModelError("no such model"), PermissionError(13, "denied", "models/m")])
async def test_one_that_has_answered_is_not_waited_for(shop: Shop, error: Exception | None) -> None:
    await shop.look(error)
    await shop.look(NotAnswered("not yet"))
    assert not shop.sources.may_yet_answer(NAME)


async def test_what_a_source_says_is_told_once(
    shop: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.WARNING):
        for error in (None, None, ModelError("away"), ModelError("away"), None):
            await shop.look(error)
    assert caplog.messages == [f"{NAME}: version 2 is half-written", f"{NAME}: away"]
    assert set(shop.sources.published[NAME]) == {KEY}


async def test_a_policy_knows_what_had_the_traffic_before(shop: Shop) -> None:
    await shop.look()
    assert shop.sources.policies[NAME] == Versions()
    await shop.look(routes={NAME: KEY._replace(number=7)})
    await shop.look(ModelError("away"))
    assert shop.sources.policies[NAME].only == [7]
