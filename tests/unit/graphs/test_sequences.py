"""What a stateful node remembers: of refused requests nothing is lost, of failed calls nothing is done twice."""

import asyncio
import threading

import numpy as np
import pytest

from configs.errors import InvalidInput, MillraceError, NodeError, Overloaded
from configs.node_options import Batch
from configs.tensors import Rows
from graphs.batcher import Batcher
from graphs.sequences import STATES, Sequence, SequenceStates, restoring


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_sequence_ends_with_its_last_answer_or_when_it_is_idle() -> None:
    clock = Clock()
    states = SequenceStates(10, 2, clock)
    states.of(Sequence(1, start=True))["seen"] = 1
    last = Sequence(1, end=True)
    assert states.of(last) == {"seen": 1}  # and is refused: nobody calls `answered`
    assert states.of(last) == {"seen": 1}
    states.answered(last)
    with pytest.raises(InvalidInput, match="not open"):
        states.of(last)
    states.of(Sequence(2, start=True))
    clock.now = 10
    with pytest.raises(InvalidInput, match="not open"):
        states.of(Sequence(2))


def test_there_are_no_more_sequences_than_may_be() -> None:
    states = SequenceStates(10, 1, Clock())
    states.of(Sequence(1, start=True))
    with pytest.raises(Overloaded) as refused:
        states.of(Sequence(2, start=True))
    assert refused.value.retry_after_s == 10


class Total:
    """Sums each sequence's rows, as far as it comes before a negative one. The first call waits for the others."""

    def __init__(self, requests: int) -> None:
        self.states: list[dict[str, object]] = [{} for _ in range(requests)]
        self._all_here = threading.Event()
        self.calls: list[int] = []

    def __call__(self, rows: Rows, count: int) -> tuple[Rows, dict[str, float]]:
        self.calls.append(count)
        self._all_here.wait(5)
        for value, state in zip(rows["x"], rows[STATES], strict=True):
            if value < 0:
                raise ValueError("negative")
            state.setdefault("values", []).append(value)
        return {"y": np.array([sum(state["values"]) for state in rows[STATES]])}, {"n": 0.0}

    async def answers(self, *values: float) -> list[object]:
        batcher: Batcher[str] = Batcher(restoring(self), Batch())

        async def ask(value: float, state: dict[str, object]) -> object:
            states = np.empty(1, object)
            states[0] = state
            try:
                outputs, _ = await batcher({"x": np.array([value]), STATES: states}, 1)
            except MillraceError as error:
                return type(error)
            return outputs["y"].item()

        asked = [asyncio.create_task(ask(*one)) for one in zip(values, self.states, strict=True)]
        await asyncio.sleep(0.02)
        self._all_here.set()
        answers = await asyncio.gather(*asked)
        batcher.close()
        return list(answers)


async def test_a_bad_request_does_not_make_others_change_their_states_twice() -> None:
    node = Total(5)
    assert await node.answers(9, 1, 2, -1, 4) == [9, 1, 2, NodeError, 4]
    assert max(node.calls) >= 4
    assert [state.get("values") for state in node.states] == [[9], [1], [2], None, [4]]


async def test_requests_whose_states_cannot_be_copied_are_called_alone() -> None:
    node = Total(4)
    for state in node.states:
        state["lock"] = threading.Lock()
    assert await node.answers(9, 1, 2, 4) == [9, 1, 2, 4]
    assert node.calls == [1, 1, 1, 1]
