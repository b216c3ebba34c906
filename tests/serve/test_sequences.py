"""Requests of one sequence find their state, whichever replica holds it, in the order they came."""

import random
import time
from typing import Any

import pytest

from tests.support.http import Answer
from tests.support.server import Server

pytestmark = pytest.mark.proxy("haproxy")
"""No proxy takes part in what lies between gateway and stage."""


def send(server: Server, value: float, **parameters: Any) -> Answer:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [value, 0]}
    return server.request("/v2/models/running-sum/infer", {"inputs": [tensor], "parameters": parameters})


def outputs(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {output["name"]: output["data"][0] for output in answer.json["outputs"]}


def test_interleaved_sequences_keep_their_sums_each_in_one_process(server: Server) -> None:
    chance = random.Random(1)
    first = int(time.time() * 1000)  # ids that no test used before
    sums, pids = dict.fromkeys(range(first, first + 12), 0.0), dict.fromkeys(range(first, first + 12), 0)
    for step in range(6):
        for identifier in chance.sample(sorted(sums), len(sums)):
            answer = outputs(send(server, step + identifier % 7, sequence_id=identifier, sequence_start=step == 0))
            sums[identifier] += step + identifier % 7
            assert answer["sum"] == sums[identifier]
            assert pids[identifier] in (0, answer["pid"])
            pids[identifier] = answer["pid"]
    assert len(set(pids.values())) == 2
    ended = [send(server, 0, sequence_id=identifier, sequence_end=True).status for identifier in sums]
    assert set(ended) == {200}


def test_what_is_wrong_with_a_sequence_is_said(server: Server) -> None:
    assert "send the parameter `sequence_id`" in send(server, 1).json["error"]
    unknown = send(server, 1, sequence_id="never begun")
    assert unknown.status == 400
    assert "is not open" in unknown.json["error"]
    assert send(server, 1, sequence_id="short", sequence_start=True, sequence_end=True).status == 200
    assert send(server, 1, sequence_id="short").status == 400


def test_an_idle_sequence_is_forgotten(server: Server) -> None:
    assert send(server, 1, sequence_id="idle", sequence_start=True).status == 200
    time.sleep(3.2)
    assert send(server, 1, sequence_id="idle").status == 400
