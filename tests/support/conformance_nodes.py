"""Triton's well-known example models as nodes, for the conformance suite and for Triton's own example scripts."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np

Named = dict[str, np.ndarray]


def sum_and_difference(INPUT0: np.ndarray, INPUT1: np.ndarray) -> Named:  # noqa: N803 (Triton's names)
    """`simple`."""
    return {"OUTPUT0": INPUT0 + INPUT1, "OUTPUT1": INPUT0 - INPUT1}


def sum_and_difference_of_text(INPUT0: np.ndarray, INPUT1: np.ndarray) -> Named:  # noqa: N803
    """`simple_string`: the same on decimal text."""
    answer = sum_and_difference(INPUT0.astype(np.int32), INPUT1.astype(np.int32))
    return {name: values.astype(bytes).astype(object) for name, values in answer.items()}


def identity(INPUT0: np.ndarray) -> Named:  # noqa: N803
    """`simple_identity` and `identity_<datatype>`."""
    return {"OUTPUT0": INPUT0}


async def repeat(IN: np.ndarray, DELAY: np.ndarray, WAIT: np.ndarray) -> AsyncIterator[Named]:  # noqa: N803
    """`repeat_int32`: each element of IN as an answer of its own, DELAY milliseconds after the one before it.

    WAIT, in milliseconds, is how long Triton's model holds the request after its last answer: nothing here waits
    for that.
    """
    for index, (value, delay_ms) in enumerate(zip(IN, DELAY, strict=True)):
        await asyncio.sleep(int(delay_ms) / 1000)
        yield {"OUT": np.array([value], np.int32), "IDX": np.array([index], np.uint32)}


class SequenceStart:
    """`simple_sequence`: what Triton's model of that name computes, INPUT and 1 more at a sequence's start."""

    def __call__(self, INPUT: np.ndarray, states: np.ndarray) -> Named:  # noqa: N803
        """A state is empty at the start of its sequence."""
        starts = np.array([not state for state in states], np.int32).reshape(-1, 1)
        for state in states:
            state["begun"] = True
        return {"OUTPUT": INPUT + starts}


class SequenceSum:
    """`sequence_sum`: the sum of a sequence's inputs so far."""

    def __call__(self, INPUT: np.ndarray, states: np.ndarray) -> Named:  # noqa: N803
        """All rows of a request belong to one sequence."""
        output = np.empty_like(INPUT)
        for row, state in enumerate(states):
            state["sum"] = state.get("sum", 0) + int(INPUT[row, 0])
            output[row, 0] = state["sum"]
        return {"OUTPUT": output}
