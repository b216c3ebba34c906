"""The measurement: alternating rounds of every way over every data set."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.batch.curve import files_of, steady
from benchmarks.batch.data import outputs_of
from benchmarks.batch.launch import WAYS, run, server_of
from benchmarks.batch.outcome import MILLRACE, Run
from benchmarks.batch.workloads import Workload

CLOSE = 1e-4
"""Most that numbers may differ between ways: calls have other sizes, and kernels other orders of adding."""
Say = Callable[[str], None]
Answers = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Amount:
    """How much is done."""

    rounds: int
    share: float
    """Of each workload's rows."""


def measure(
    folder: Path, workloads: Sequence[Workload], ways: Sequence[str], amount: Amount, say: Say
) -> Iterator[Run]:
    """All runs; no two at the same time.

    Args:
        folder: empty; holds data and outputs meanwhile.

    Raises:
        RuntimeError: a way failed, or its answers are wrong.
    """
    for workload in workloads:
        data, rows = folder / workload.name, int(workload.rows * amount.share)
        workload.write(data, rows)
        expected: list[Answers] = []
        for number in range(1, amount.rounds + 1):
            for way in ways:
                say(f"{workload.name}, round {number} of {amount.rounds}: {WAYS[way].title} …")
                yield _one(number, workload, way, data, rows, expected)
        shutil.rmtree(data)


def _one(number: int, workload: Workload, way: str, data: Path, rows: int, expected: list[Answers]) -> Run:
    output = data.with_name(f"{workload.name}-{way}")
    with ExitStack() as stack:
        port, beside = stack.enter_context(server_of(workload)) if WAYS[way].server else (0, list)
        ended = run(WAYS[way].command(workload, data, output, port), beside)
    files = files_of(output, ended.started)
    answers = outputs_of(output, workload.outputs)
    if not expected:
        expected.append(answers)  # of the first way, by custom Millrace
    differs = difference(way, answers, expected[0], rows)
    shutil.rmtree(output)
    return Run(
        number,
        workload.name,
        way,
        rows,
        ended.seconds,
        files[0].at,
        files[-1].at,
        steady(files),
        ended.cpu_s,
        sum(process.own_bytes for process in ended.processes),
        differs,
    )


def difference(way: str, answers: Answers, expected: Answers, rows: int) -> float:
    """Largest difference of a number. Raises RuntimeError for rows that lack or are twice, and wrong answers."""
    if not np.array_equal(answers[0], np.arange(rows)):
        raise RuntimeError(f"{way}: {len(answers[0]):,} rows came out, not each of the {rows:,} once")
    most = 0.0
    for name, values in answers[1].items():
        # Of labels a few may change sides; of numbers none may be far.
        other = expected[1][name]
        if values.dtype.kind == "f":
            most = max(most, float(np.abs(values - other).max()))
        elif (values != other).mean() > CLOSE:
            raise RuntimeError(f"{way}: {(values != other).sum():,} of {rows:,} {name} are others than {MILLRACE}'s")
    if most > CLOSE:
        raise RuntimeError(f"{way}: a number differs by {most:g} from {MILLRACE}'s")
    return most
