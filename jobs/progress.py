"""How far each stage of a job is: all processes count in one place, and the driver looks there."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

LOOK_S = 0.5
"""Pause between two looks."""

Told = Callable[[Mapping[str, int]], None]
"""Told stage → rows that it has done."""


class Counts:
    """The place: a Ray actor."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, int]] = {}

    def add(self, stage: str, part: str, rows: int) -> None:
        """A part is through a stage; one that comes again, after a process died, counts once."""
        self._rows.setdefault(stage, {})[part] = rows

    def rows(self) -> dict[str, int]:
        """Stage → rows."""
        return {stage: sum(parts.values()) for stage, parts in self._rows.items()}


@contextmanager
def counting(told: Told) -> Iterator[Any]:
    """The handle of a place to count; while the context is open, `told` hears of it from a thread of its own."""
    counts: Any = ray.remote(num_cpus=0, max_restarts=-1)(Counts).remote()
    over = threading.Event()
    thread = threading.Thread(target=_look, args=(counts, told, over), name="millrace-progress", daemon=True)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()
        ray.kill(counts)


def _look(counts: Any, told: Told, over: threading.Event) -> None:
    while not over.wait(LOOK_S):
        try:
            told(ray.get(counts.rows.remote(), timeout=LOOK_S * 10))
        except (ray.exceptions.GetTimeoutError, ray.exceptions.RayError):
            continue  # its node is gone or has no time: the job goes on, with a bar that is late
