"""The picture: how latencies are distributed, and how memory goes, of each family."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.pool.live.report import Groups, latencies
from benchmarks.pool.live.servers import SERVERS

_COLOURS = dict(zip(SERVERS, ("#1f6f8b", "#d9772b", "#5b8c5a"), strict=True))


def draw(groups: Groups, path: Path) -> None:
    """Write a PNG with a row a family."""
    families = list(dict.fromkeys(family for family, _ in groups))
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(14, 4 * len(families)), layout="constrained")
        for row, family in zip(figure.subplots(len(families), 2, squeeze=False), families, strict=True):
            _latency(row[0], groups, family)
            _memory(row[1], groups, family)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, dpi=120)


def _latency(axes: Axes, groups: Groups, family: str) -> None:
    for (its, server), group in groups.items():
        if its != family:
            continue
        found = latencies(group)
        for name, values, style in (("calm", found.calm, "dotted"), ("during loads", found.warm, "solid")):
            title = f"{SERVERS[server].title}: {name}"
            slowest = np.arange(len(values), 0, -1) / max(len(values), 1)
            axes.plot(np.sort(values) * 1e3, slowest, color=_COLOURS[server], linestyle=style, label=title)
    axes.set(xscale="log", yscale="log", xlabel="milliseconds", ylabel="share of requests that are slower")
    axes.set_title(f"{family}: popular models that are loaded", loc="left")


def _memory(axes: Axes, groups: Groups, family: str) -> None:
    for (its, server), group in groups.items():
        if its == family:
            samples = group[-1].samples
            at = [sample.at for sample in samples]
            axes.plot(at, [sample.resident / 1e6 for sample in samples], color=_COLOURS[server], linestyle="dashed")
            axes.plot(at, [sample.bytes / 1e6 for sample in samples], color=_COLOURS[server])
            axes.axhline(group[-1].limit / 1e6, color="black", linewidth=0.6)
    axes.set(xlabel="seconds", ylabel="MB", ylim=(0, None))
    axes.set_title("models as told (limit: thin line), and the process (dashed), last round", loc="left")
