"""The picture: requests per second as a multiple of FastAPI's."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.online import aims
from benchmarks.online.launch import KINDS
from benchmarks.online.report import number
from benchmarks.online.summary import BASES, Key, Summary

_COLOURS = {"fastapi": "#9aa5b1", "ray": "#f2b880", "ray-fast": "#d9772b", "millrace": "#1f6f8b"}


def draw(summaries: Mapping[Key, Summary], path: Path) -> None:
    """Write a PNG, logarithmic: a group of bars a workload with an aim, at `aims.CONNECTIONS` connections."""
    ratios = {
        (workload, server): summary.ratio
        for (workload, connections, server), summary in summaries.items()
        if connections == aims.CONNECTIONS and summary.ratio and workload in aims.RATIO
    }
    workloads = list(dict.fromkeys(workload for workload, _ in ratios))
    servers = [server for server in KINDS if server not in BASES and any(server == drawn for _, drawn in ratios)]
    with mpl.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 5.5), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(servers)
        for index, server in enumerate(servers):
            places = [group - 0.4 + (index + 0.5) * width for group in range(len(workloads))]
            heights = [ratios.get((workload, server), float("nan")) for workload in workloads]
            # Bars start at 1, so they go up where a server is faster than FastAPI and down where it is slower.
            changes = [height - 1 for height in heights]
            bars = axes.bar(places, changes, width * 0.92, 1, label=KINDS[server].title, color=_COLOURS[server])
            axes.bar_label(bars, [number(height) for height in heights], fontsize=9, padding=2)
        for group, workload in enumerate(workloads):
            label = "aim of Millrace" if group == 0 else ""
            axes.hlines(aims.RATIO[workload], group - 0.4, group + 0.4, "black", "dotted", label=label)
        axes.set_yscale("log")
        axes.margins(y=0.12)
        axes.axhline(1, color=_COLOURS["fastapi"], label=KINDS["fastapi"].title, zorder=1.5)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xticks(range(len(workloads)), workloads)
        axes.set_ylabel("requests/s, FastAPI = 1")
        axes.set_title(f"Requests per second at {aims.CONNECTIONS} connections, as a multiple of FastAPI's")
        figure.legend(loc="outside lower center", ncols=len(servers) + 2, frameon=False)
        figure.savefig(path, dpi=130)
