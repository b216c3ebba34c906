"""The picture: latency over time, with the swaps and the kills."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.versions.outcome import Outcome

_COLOURS = {"inline": "#1f6f8b", "network": "#5b8c5a", "placed": "#d9772b"}
_KILL = "#b23a48"


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write a PNG with one panel a proxy."""
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(14, 4.2 * len(outcomes)), layout="constrained")
        for axes, outcome in zip(figure.subplots(len(outcomes), 1, squeeze=False)[:, 0], outcomes, strict=True):
            _latency(axes, outcome)
            _marks(axes, outcome)
            axes.set_title(f"--proxy {outcome.proxy}: {outcome.rate:.0f} requests/s over HTTP and gRPC", loc="left")
        axes.set_xlabel("seconds")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        figure.savefig(path, dpi=120)


def _latency(axes: Axes, outcome: Outcome) -> None:
    at = [second.at for second in outcome.seconds]
    axes.plot(at, [second.most for second in outcome.seconds], color="#c9d1d9", linewidth=0.8, label="slowest")
    axes.plot(at, [second.p99 for second in outcome.seconds], color="#47525d", linewidth=1, label="p99 of a second")
    axes.plot(at, [second.p50 for second in outcome.seconds], color="#8d99a6", linewidth=1, label="p50 of a second")
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds")
    axes.margins(x=0.01)


def _marks(axes: Axes, outcome: Outcome) -> None:
    rows = axes.get_xaxis_transform()
    for place, (model, colour) in enumerate(_COLOURS.items()):
        at = [moment - outcome.began for moment, swapped in outcome.swapped if swapped == model]
        height = [0.02 + 0.035 * place] * len(at)
        axes.plot(at, height, "|", color=colour, transform=rows, markersize=9, label=f"new version of {model}")
    for number, moment in enumerate(outcome.kills):
        label = "" if number else "control killed"
        axes.axvline(moment - outcome.began, color=_KILL, linestyle="dotted", linewidth=0.9, label=label)
    for number, judged in enumerate(outcome.parts):  # their names one below the other: some parts are short
        began = judged.part.began - outcome.began
        axes.axvline(began, color="black", linewidth=0.6)
        axes.text(began, 1 - 0.05 * number, f" {judged.part.name}", transform=rows, va="top", fontsize=9)
