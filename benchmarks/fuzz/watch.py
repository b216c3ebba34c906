"""Runs a fuzz in processes of its own, and watches each input's time from outside: a hang in C stops no other way."""

import multiprocessing
import os
import time
import warnings
from typing import Any

from benchmarks.fuzz.campaign import Findings, drive

LIMIT_S = 10.0
"""Longest that one input may take, on a machine that does other things too."""


class Stuck(Exception):
    """An input took too long, or ended its process."""


def watched(seed: int, inputs: int, processes: int) -> list[Findings]:
    """Drive all inputs. Raises Stuck with the input in hand; its process is ended."""
    spawn = multiprocessing.get_context("spawn")
    clocks = [spawn.Array("d", 2, lock=False) for _ in range(processes)]
    pipes = [spawn.Pipe(duplex=False) for _ in range(processes)]
    workers: list[Any] = [
        spawn.Process(target=_work, args=(seed, range(part, inputs, processes), clock, pipe[1]), daemon=True)
        for part, (clock, pipe) in enumerate(zip(clocks, pipes, strict=True))
    ]
    for worker in workers:
        worker.start()
    try:
        return [
            _wait(worker, clock, pipe, seed) for worker, clock, (pipe, _) in zip(workers, clocks, pipes, strict=True)
        ]
    finally:
        for worker in workers:
            worker.terminate()


def _wait(worker: Any, clock: Any, pipe: Any, seed: int) -> Findings:
    while not pipe.poll(0.5):
        index, begun = clock
        if begun and time.monotonic() - begun > LIMIT_S:
            raise Stuck(f"an input takes more than {LIMIT_S:g} s: --seed {seed} --only {index:.0f}")
        if not worker.is_alive() and not pipe.poll(0):
            raise Stuck(f"a process died at --seed {seed} --only {index:.0f}")
    found: Findings = pipe.recv()
    return found


def _work(seed: int, indices: range, clock: Any, pipe: Any) -> None:
    os.nice(5)
    warnings.simplefilter("error")  # what a library only grumbles about should not reach a server's log
    pipe.send(drive(seed, indices, clock))
