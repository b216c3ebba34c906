"""`millrace batch`: a graph over files."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from configs.errors import ConfigError
from configs.serve import find_root, placement_profile

if TYPE_CHECKING:
    from jobs.tally import Tally

err = Console(stderr=True)
out = Console()

LINE_EVERY = 20
"""Without a terminal, a line after so many parts."""
_WRITTEN = "written"


def batch(
    graph: Annotated[Path, typer.Argument(help="The graph's YAML file.")],
    input: Annotated[list[str], typer.Option(help="File, folder, pattern (quoted: 'data/*.parquet') or URL; repeat.")],
    output: Annotated[str, typer.Option(help="Folder or URL for the output: new, or empty.")],
    input_format: Annotated[str | None, typer.Option(help="parquet, csv, jsonl or images, else by the names.")] = None,
    format: Annotated[str, typer.Option(help="Of the output: parquet, csv or jsonl.")] = "parquet",
    column: Annotated[
        list[str] | None, typer.Option(help="<input>=<column>, where their names differ; repeat.")
    ] = None,
    constant: Annotated[
        list[str] | None, typer.Option(help="<input>=<value> of an input that is one number for all rows; repeat.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Columns that pass through, with commas: keys, for instance.")] = "",
    limit: Annotated[int | None, typer.Option(help="Only the first rows, files by name.", min=1)] = None,
    sample: Annotated[float, typer.Option(help="Share of the rows, by chance, e.g. 0.01; the same ones again.")] = 1.0,
    check: Annotated[
        str | None, typer.Option(help="<module>:<pandera schema>; rows that fail it are not scored.")
    ] = None,
    batch_rows: Annotated[
        int | None, typer.Option(help="Most rows in a call of a node without `batch:`; else tried out.", min=1)
    ] = None,
    part_rows: Annotated[int, typer.Option(help="Most rows of an output file.", min=1)] = 8192,
    processes: Annotated[int, typer.Option(help="For the nodes that are not placed.", min=1)] = 1,
    cpus: Annotated[float, typer.Option(help="CPUs of each of them; less where there are few.", min=0.1)] = 1.0,
    max_errors: Annotated[int | None, typer.Option(help="End when more rows have no answer.", min=0)] = None,
    publish: Annotated[
        str | None, typer.Option(help="Make the answers a new version of this lookup table, or see --publish-as.")
    ] = None,
    publish_as: Annotated[
        Literal["lookup", "index", "faiss"], typer.Option(help="index: of vectors; faiss: one with a graph, for many.")
    ] = "lookup",
    key: Annotated[str, typer.Option(help="Column of the keys of what is published.")] = "id",
    metric: Annotated[Literal["cosine", "inner_product", "l2"], typer.Option(help="Of an index.")] = "cosine",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the job that was begun in the output.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the job's output that is there.")] = False,
    profile: Annotated[
        str, typer.Option(help="Placement profile of the graph; auto: `cpu` where there is no GPU.")
    ] = "auto",
    root: Annotated[
        Path | None, typer.Option(help="Folder that relative model paths start from (default: here).")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster, as `auto`; else a new one here.")] = None,
) -> None:
    """Score files with a graph: each row once, bad rows aside, restarted where it stopped.

    The output has a file for each part, `_errors/` for rows without an answer, and _report.json.
    """
    from jobs import publish as publishing
    from jobs.cluster import connected, has_gpu
    from jobs.job import Asked, prepare, run

    if publish is None and (publish_as, key, metric) != ("lookup", "id", "cosine"):
        raise ConfigError("--publish-as, --key and --metric go with --publish <name>; give it, or leave them out")
    asked = Asked(
        graph=graph,
        root=find_root(str(root) if root else None, [str(graph)]),
        inputs=input,
        output=output,
        input_format=input_format,
        format=format,
        columns=_pairs("--column", column),
        constants={name: _value(name, value) for name, value in _pairs("--constant", constant).items()},
        keep=tuple(name for name in keep.split(",") if name),
        limit=limit,
        sample=sample,
        check=check,
        batch_rows=batch_rows,
        part_rows=part_rows,
        processes=processes,
        cpus=cpus,
        max_errors=max_errors,
        resume=resume,
        overwrite=overwrite,
    )
    with ExitStack() as stack:
        if address is not None:  # a cluster that is there answers at once, and says whether it has GPUs
            stack.enter_context(connected(address))
        job = prepare(replace(asked, profile=placement_profile(profile, has_gpu)))
        wanted = None if publish is None else publishing.plan(job, publish, key, publish_as, metric)
        if job.is_finished():
            out.print("nothing is left to do; the run that ended it said:")
        elif address is None:
            err.print("starting Ray and the job's processes …")
            stack.enter_context(connected(None))
        try:
            report = run(job, stack.enter_context(_progress()))
        except KeyboardInterrupt:
            err.print(f"interrupted; what is whole in {job.place} stays: --resume goes on")
            raise
    _say(report.lines())
    if wanted is not None and (version := publishing.already(job.place, wanted)) is not None:
        _say([f"{version.name} version {version.number} is this job's already: {version.path}"])
    elif wanted is not None:
        _say(publishing.publish(job.place, wanted).lines())


def _say(lines: list[str]) -> None:
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def _value(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--constant {name}={text}: give a number, true or false") from None


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} {text}: write <input>=<…>")
        if name in pairs:
            raise ConfigError(f"{option} {text}: {name} is given twice")
        pairs[name] = value
    return pairs


class _Bars:
    """A bar for each stage, and for the rows that are written; without a terminal, a line now and then."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._before = 0
        self._total: int | None = None

    def done(self, tally: "Tally", rows: int | None) -> None:
        """A part's files are whole."""
        self._before, self._total = tally.resumed, rows
        self._show(_WRITTEN, tally.rows)
        if not err.is_terminal and tally.parts % LINE_EVERY == 0 and tally.parts:
            total = f" of {rows:,}" if rows is not None else ""
            print(f"{tally.rows:,}{total} rows, {tally.bad:,} without an answer", file=sys.stderr, flush=True)

    def stages(self, rows: Mapping[str, int]) -> None:
        """The processes have come so far."""
        for stage, count in rows.items():
            self._show(stage, self._before + count)

    def _show(self, stage: str, rows: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=self._total, completed=self._before)
        self._bars.update(self._tasks[stage], completed=rows, total=self._total)


class _Rate(ProgressColumn):
    """Rows per second, of late."""

    def render(self, task: Task) -> Text:
        """Nothing until something is known."""
        return Text(f"{task.speed:,.0f} rows/s" if task.speed else "")


@contextmanager
def _progress() -> "Iterator[_Bars]":
    name = TextColumn("{task.description}")
    columns = (name, BarColumn(), MofNCompleteColumn(), _Rate(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        yield _Bars(bars)
