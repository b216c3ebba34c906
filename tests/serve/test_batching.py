"""Rows of concurrent requests share calls; a bad row fails alone; a blocked node blocks nobody else."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.http import Answer
from tests.support.server import Server

pytestmark = pytest.mark.proxy("haproxy")
"""No proxy takes part in what lies behind the gateway's door."""
REQUESTS = 24


class Sender:
    """Sends requests of one row each from threads, and knows how many are on their way."""

    def __init__(self, server: Server, graph: str, gate: Path, pool: ThreadPoolExecutor) -> None:
        self._server, self._graph, self._gate, self._pool = server, graph, gate, pool
        self._sent = threading.Semaphore(0)

    def send(self, *values: float) -> list[Future[Answer]]:
        futures = [self._pool.submit(self._one, value) for value in values]
        for _ in values:
            self._sent.acquire()
        time.sleep(0.5)  # from the client's socket into the batcher's queue
        return futures

    def _one(self, value: float) -> Answer:
        self._sent.release()
        return self._server.request(f"/{self._graph}", {"gate": [str(self._gate)], "x": [value]})


@pytest.fixture
def sender(server: Server, graph: str, gate: Path, pool: ThreadPoolExecutor) -> Sender:
    return Sender(server, graph, gate, pool)


def test_what_waits_for_a_busy_node_shares_its_next_call(sender: Sender, gate: Path) -> None:
    first = sender.send(0)
    others = sender.send(*range(1, REQUESTS))
    gate.unlink()
    answers = [future.result().json for future in first + others]
    calls = {answer["call"][0] for answer in answers}
    # One call for the first, one for those that came meanwhile; some may have come late on a busy machine.
    assert len(calls) <= 5
    assert max(answer["rows"][0] for answer in answers) >= REQUESTS // 2


def test_one_bad_row_fails_alone(sender: Sender, gate: Path) -> None:
    first = sender.send(0)
    others = sender.send(1, 2, 3, -1, 4, 5, 6)
    gate.unlink()
    answers = [future.result() for future in first + others]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 400, 200, 200, 200]
    assert answers[4].json == {"error": "negative value"}
    assert any(answer.json["rows"][0] > 1 for answer in answers if answer.status == 200)


def test_a_blocked_node_blocks_no_event_loop(server: Server, sender: Sender, gate: Path) -> None:
    [blocked] = sender.send(0)
    assert server.request("/v2/health/live").status == 200
    assert server.request("/identity").status == 200
    assert server.request("/cascade", {"x": [[1, 2]]}).json == {"y": [[101, 102]]}
    assert not blocked.done()
    gate.unlink()
    assert blocked.result().status == 200
