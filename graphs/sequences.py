"""What a stateful node remembers of each sequence of requests, and for how long."""

import time
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from configs.errors import InvalidInput, Overloaded
from configs.tensors import Rows
from graphs.slot import Called

STATES = "states"
"""Name of the argument under which a stateful node gets one dictionary a row."""

Call = Callable[[Rows, int], tuple[Rows, dict[Called, float]]]
"""A batcher's call: named arrays and their rows in, outputs and seconds by node out."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Which sequence a request belongs to (Triton's sequence extension)."""

    id: int | str
    start: bool = False
    """Whether the request is the first: what was remembered under the id is forgotten."""
    end: bool = False
    """Whether the request is the last: its state is forgotten once it is answered."""


class SequenceStates:
    """The state of every open sequence: a dictionary that the node's code fills. For one thread.

    Args:
        idle_s: a sequence that hears nothing for so long has ended.
        most: open sequences at a time.
    """

    def __init__(self, idle_s: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s, self._most, self._clock = idle_s, most, clock
        self._open: OrderedDict[int | str, tuple[float, dict[str, Any]]] = OrderedDict()
        """Least recently used first."""

    def __len__(self) -> int:
        return len(self._open)

    def of(self, sequence: Sequence | None) -> dict[str, Any]:
        """The state that a request works on.

        Raises:
            InvalidInput: the request names no sequence, or one that is not open and does not start one.
            Overloaded: as many sequences are open as may be.
        """
        if sequence is None:
            raise InvalidInput("this graph keeps state: send the parameter `sequence_id`, and `sequence_start` first")
        self._expire()
        if sequence.start:
            self._open.pop(sequence.id, None)
            self._check_room()
            state: dict[str, Any] = {}
        elif sequence.id in self._open:
            state = self._open.pop(sequence.id)[1]
        else:
            raise InvalidInput(
                f"sequence {str(sequence.id)[:100]!r} is not open: it ended, was idle for {self._idle_s:g} s, or its "
                f"process ended; begin it with `sequence_start: true`"
            )
        self._open[sequence.id] = (self._clock() + self._idle_s, state)
        return state

    def answered(self, sequence: Sequence | None) -> None:
        """A request has its answer. Only now a last one ends its sequence: one that was refused may come again."""
        if sequence is not None and sequence.end:
            self._open.pop(sequence.id, None)

    def _expire(self) -> None:
        now = self._clock()
        while self._open and next(iter(self._open.values()))[0] <= now:
            self._open.popitem(last=False)

    def _check_room(self) -> None:
        if len(self._open) >= self._most:
            until = next(iter(self._open.values()))[0] - self._clock()
            raise Overloaded(f"{self._most} sequences are open, as many as may be; end some of them", until)


def restoring(call: Call) -> Call:
    """The call of a stateful node, which leaves the states of several requests as they were if it fails.

    The batcher then calls again without those to blame, and what the others' rows did to their states must not be done
    twice. Requests whose states cannot be copied cannot share a call: that fails, so each is called alone.
    """

    def restored(rows: Rows, count: int) -> tuple[Rows, dict[Called, float]]:
        states = {id(state): state for state in rows[STATES]}.values()
        if len(states) == 1:
            return call(rows, count)
        before = [deepcopy(state) for state in states]
        try:
            return call(rows, count)
        except BaseException:
            for state, was in zip(states, before, strict=True):
                state.clear()
                state.update(was)
            raise

    return restored
