"""The picture: batch sizes found, goodput under overload, the tail with and without hedging."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.isolation.hedging import Tail
from benchmarks.isolation.overload import PATIENCE_S, Load
from benchmarks.isolation.sizes import P99_S, Sizes

_ON, _OFF, _THIRD = "#1f6f8b", "#9aa5b1", "#d9772b"


def draw(found: Sequence[Sizes], loads: Sequence[Load], plain: Tail, hedged: Tail, path: Path) -> None:
    """Write a PNG with three panels."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(14, 4.4), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        _sizes(left, found)
        _loads(middle, loads, PATIENCE_S)
        _tails(right, plain, hedged)
        figure.savefig(path, dpi=130)


def draw_live(loads: Sequence[Load], patience_s: float, plain: Tail, hedged: Tail, path: Path) -> None:
    """Write a PNG with the two panels of what was served."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _loads(left, loads, patience_s)
        _tails(right, plain, hedged)
        figure.savefig(path, dpi=130)


def _sizes(axes: Axes, found: Sequence[Sizes]) -> None:
    for run, colour in zip(found, (_ON, _THIRD), strict=True):
        times, rows = zip(*run.trail, strict=True)
        axes.plot(times, rows, color=colour, label=f"found, noise {run.noise:.0%}")
        axes.axhline(run.best.rows, color=colour, linestyle="dotted", label=f"best fixed size, noise {run.noise:.0%}")
    axes.set_ylim(0)
    axes.set_xlabel("seconds of serving")
    axes.set_ylabel("most rows in a call")
    axes.set_title(f"Batch size under a p99 of {P99_S * 1e3:g} ms")
    axes.legend(frameon=False, fontsize=9)


def _loads(axes: Axes, loads: Sequence[Load], patience_s: float) -> None:
    for deadlines, colour, label in ((True, _ON, "deadlines on"), (False, _OFF, "deadlines off, no bound")):
        if points := [(load.times, load.goodput) for load in loads if load.deadlines == deadlines]:
            axes.plot(*zip(*points, strict=True), "o-", color=colour, label=label)
    axes.axhline(1, color="black", linestyle="dotted", linewidth=1)
    axes.set_ylim(0)
    axes.set_xlabel("arrivals, capacity = 1")
    axes.set_ylabel("answers in time, capacity = 1")
    axes.set_title(f"Overload, clients that wait {patience_s * 1e3:g} ms")
    axes.legend(frameon=False, fontsize=9)


def _tails(axes: Axes, plain: Tail, hedged: Tail) -> None:
    for tail, colour, label in ((plain, _OFF, "without"), (hedged, _ON, f"hedged, {hedged.extra:.1%} calls more")):
        slower = 1 - np.arange(1, len(tail.seconds) + 1) / (len(tail.seconds) + 1)
        axes.plot(np.array(tail.seconds) * 1e3, slower, color=colour, label=label)
    axes.axhline(0.001, color="black", linestyle="dotted", linewidth=1, label="p99.9")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("milliseconds")
    axes.set_ylabel("share of calls that took longer")
    axes.set_title("One call in a hundred stalls")
    axes.legend(frameon=False, fontsize=9)
