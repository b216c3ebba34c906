"""Requests against batchers and executors on a clock that only the test moves: nothing sleeps, nothing races."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np

from configs.errors import InvalidInput, RowErrors
from graphs.batcher import Batcher

BREAKS, NAMES_ROWS, REFUSED = -1.0, -2.0, -3.0
"""Values of poisonous rows: the call fails; the node names the rows; the node refuses the call."""


class Clock:
    """Stands for the module `time`, too."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers go by a clock, and which runs only when it is told to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._simulated = clock

    def time(self) -> float:
        return self._simulated.now

    def turn(self, times: int = 12) -> None:
        """Run what is ready, and what that makes ready."""
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    def begin(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task and run it as far as it comes."""
        task = self.create_task(work)
        self.turn()
        return task


class Unthreaded(Batcher[Any]):
    """A batcher whose work is done by whoever calls `step`; knows all that were made."""

    made: "list[Unthreaded]" = []  # noqa: RUF012  one list for all is what it is for

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.made.append(self)

    def start(self) -> None:
        """No thread."""


Call = Callable[[dict[Any, np.ndarray], int], tuple[dict[Any, np.ndarray], dict[str, float]]]


def poisonable(x: np.ndarray) -> dict[str, np.ndarray]:
    """Doubles `x`, unless a row is poisonous."""
    values = x.reshape(len(x), -1)[:, 0]
    if (values == REFUSED).any():
        raise InvalidInput("refused")
    if (values == BREAKS).any():
        raise RuntimeError("broken")
    if (values == NAMES_ROWS).any():
        raise RowErrors(dict.fromkeys(np.flatnonzero(values == NAMES_ROWS), "named"))
    return {"y": x * 2}


async def awaited(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same as a coroutine that waits for something else."""
    await asyncio.sleep(0.005)
    return poisonable(x)


poisonable.outputs = awaited.outputs = {"y": "FP32[-1, 2]"}  # type: ignore[attr-defined]


def blames_others(x: np.ndarray) -> dict[str, np.ndarray]:
    """Says that a row is bad that it was not given."""
    raise RowErrors({7: "bad"})


async def blames_others_async(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same as a coroutine."""
    return blames_others(x)


async def cancels_itself(x: np.ndarray) -> dict[str, np.ndarray]:
    """What a library does that loses its own background task."""
    raise asyncio.CancelledError
