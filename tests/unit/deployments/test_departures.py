"""A client that leaves cancels its work; one that stays costs nothing."""

import asyncio
from typing import Any

import pytest

from deployments.departures import ClientLeft, DepartureWatch


async def leave() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def stay() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_client_that_leaves_cancels_the_work() -> None:
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(ClientLeft), DepartureWatch(leave):
        await work
    assert work.cancelled()
    await asyncio.sleep(0)  # the task itself goes on


async def test_a_client_that_stays_gets_its_answer() -> None:
    with DepartureWatch(stay):
        await asyncio.sleep(0.05)


async def test_a_cancelled_request_stays_cancelled() -> None:
    async def request() -> None:
        with DepartureWatch(stay):
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_errors_of_the_work_pass_through() -> None:
    with pytest.raises(ValueError, match="broken"), DepartureWatch(leave):
        raise ValueError("broken")


async def test_a_server_that_does_not_wait_is_asked_once() -> None:
    asked = []

    async def chatter() -> dict[str, Any]:
        asked.append(1)
        return {"type": "http.request", "body": b"", "more_body": False}

    with DepartureWatch(chatter):
        await asyncio.sleep(0.05)
    assert len(asked) == 1
