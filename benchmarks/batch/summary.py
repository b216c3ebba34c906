"""Medians over the rounds, and ratios taken within each round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.batch.outcome import MILLRACE, Run


@dataclass(frozen=True)
class Summary:
    """A way over a data set; medians of its runs."""

    steady: float
    whole: float
    """Rows per second of the whole command."""
    first_s: float
    whole_s: float
    cpu_s: float
    """For 100,000 rows."""
    peak_bytes: float
    differs: float
    """The most of all runs."""
    steady_ratio: float
    """Millrace's rows per second, this way's = 1; NaN without a round of both."""
    whole_ratio: float
    ratios: tuple[float, ...]
    """The first of both in each round."""


def summarise(runs: Sequence[Run]) -> dict[tuple[str, str], Summary]:
    """Workload and way → what its runs say."""
    keys = dict.fromkeys((run.workload, run.way) for run in runs)
    return {key: _summary([run for run in runs if (run.workload, run.way) == key], runs) for key in keys}


def _summary(own: Sequence[Run], runs: Sequence[Run]) -> Summary:
    pairs = [(_of_millrace(run, runs), run) for run in own]
    both = [(ours, run) for ours, run in pairs if ours is not None]
    ratios = tuple(ours.steady / run.steady for ours, run in both)
    return Summary(
        median(run.steady for run in own),
        median(run.rows / run.whole_s for run in own),
        median(run.first_s for run in own),
        median(run.whole_s for run in own),
        median(1e5 * run.cpu_s / run.rows for run in own),
        median(run.peak_bytes for run in own),
        max(run.differs for run in own),
        median(ratios) if ratios else math.nan,
        median(run.whole_s / ours.whole_s for ours, run in both) if both else math.nan,
        ratios,
    )


def _of_millrace(run: Run, runs: Sequence[Run]) -> Run | None:
    same = (each for each in runs if (each.round, each.workload) == (run.round, run.workload))
    return next((each for each in same if each.way == MILLRACE), None)
