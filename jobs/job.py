"""One batch job: a graph over a data set, from what a user asks for to the report."""

import hashlib
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from configs.node_options import Replicas
from configs.tensors import Signature, TensorSpec
from graphs.check import CheckedGraph, check_file
from graphs.load import signature_of
from graphs.plan import compile_plan
from graphs.trial import signatures
from jobs import manifest
from jobs.chain import Link, call_rows, chain, for_a_job
from jobs.columns import check, constants, types
from jobs.finishing import DONE, ERRORS, Finishing
from jobs.manifest import Manifest, Options
from jobs.reader import Reader
from jobs.reading import schema_of
from jobs.tally import Finished, Report, Tally
from jobs.units import Unit, find_units
from jobs.versions import Version, resolve
from jobs.writing import Place, check_names
from servables.base import LoadOptions

REPORT = "_report.json"
PART_ROWS = 8192
"""Most rows of a part, so of an output file."""
PART_BYTES = 32 << 20
"""Most bytes of a part as it is read, about: a few parts of each process are in memory at a time."""

_OURS = re.compile(
    rf"({DONE}/|{ERRORS}/)?\d{{5,}}-\d{{5,}}\.(parquet|csv|jsonl|json)|{re.escape(manifest.FILE)}|{re.escape(REPORT)}"
)
"""Names of files that jobs write."""

Tell = Callable[[Tally, int | None], None]
"""Told after each part what is done, and how many rows there are in all; None where only reading tells."""


@dataclass(frozen=True)
class Asked:
    """What a user asks for."""

    graph: Path
    root: Path
    inputs: Sequence[str]
    output: str
    profile: str = ""
    input_format: str | None = None
    format: str = "parquet"
    columns: Mapping[str, str] = field(default_factory=dict)
    """Graph input → column, where their names differ."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that are one number for all rows."""
    keep: tuple[str, ...] = ()
    batch_rows: int = 1024
    """Most rows in one call of a node that does not say it itself."""
    part_rows: int = PART_ROWS
    processes: int = 1
    """For the nodes that are not placed."""
    cpus: float = 1.0
    """Of each of them."""
    max_errors: int | None = None
    """The job ends when more rows than these have no answer."""
    resume: bool = False
    overwrite: bool = False


class TooManyErrors(ConfigError):
    """More rows have no answer than the job may have."""


def run(asked: Asked, tell: Tell = lambda tally, rows: None) -> Report:
    """Do the job, or what is left of it. Ray must be initialised.

    Raises:
        ConfigError: what is asked for cannot be done: graph, columns, or an output that is another job's.
        TooManyErrors: the job ended early; --resume goes on with it.
        MillraceError: what ended it, as a model that does not load.
    """
    job = _prepared(asked)
    tally = Tally()
    for part in job.before:
        tally.add(part, resumed=True)
    started = time.monotonic()
    _check_errors(asked, job, tally)
    tell(tally, job.rows)
    with closing(job.parts()) as parts:
        for part in parts:
            tally.add(part)
            tell(tally, job.rows)
            _check_errors(asked, job, tally)
    report = _report(asked, job, tally, time.monotonic() - started)
    job.place.write_json(REPORT, report.document())
    return report


def _check_errors(asked: Asked, job: "_Job", tally: Tally) -> None:
    if asked.max_errors is not None and tally.bad > asked.max_errors:
        raise TooManyErrors(
            f"{tally.bad:,} rows have no answer, more than --max-errors {asked.max_errors}; {job.place}/{ERRORS} says "
            "why; with a higher limit --resume goes on"
        )


@dataclass(frozen=True)
class _Job:
    graph: CheckedGraph
    links: Sequence[Link]
    units: Sequence[Unit]
    place: Place
    manifest: Manifest
    before: Sequence[Finished]
    """Parts that an earlier run finished."""
    reader: Reader
    finishing: Finishing

    @property
    def rows(self) -> int | None:
        """Of the whole input; None where only reading tells."""
        counts = [unit.rows for unit in self.units]
        return sum(filter(None, counts)) if None not in counts else None

    def parts(self) -> Generator[Finished]:
        """Each part that is left, when its files are whole."""
        left = [unit for unit in self.units if not _is_done(unit, self.before)]
        if left:
            from jobs.pipeline import finished_parts  # the only one that needs Ray

            versions = self.manifest.versions
            yield from finished_parts(left, self.reader, self.links, self.graph.root, versions, self.finishing)


def _prepared(asked: Asked) -> _Job:
    checked = check_file(asked.graph, asked.root, asked.profile)
    plan = compile_plan(for_a_job(checked.flat, asked.batch_rows), asked.cpus)
    processes = Replicas(min=asked.processes, max=asked.processes)  # type: ignore[call-arg]
    links = chain(plan, asked.cpus, processes)
    units = find_units(asked.inputs, asked.input_format)
    place = Place(asked.output)
    earlier = manifest.begun(place) if asked.resume and not asked.overwrite else None
    versions = resolve(checked.flat, asked.root) if earlier is None else earlier.versions
    chosen = {node: (version.number, version.content) for node, version in versions.items()}
    signature = signature_of(plan, signatures(checked.flat, asked.root, LoadOptions(), chosen))
    inputs, given = _inputs(asked, signature)
    _check_columns(asked, units, inputs, signature)
    now = _manifest(asked, checked, units, versions)
    job, before = _begun(asked, place, earlier, now)
    done = frozenset(part.name for part in before)
    reader = Reader(
        plan,
        inputs,
        given,
        asked.columns,
        asked.keep,
        asked.part_rows,
        PART_BYTES,
        call_rows(checked.flat, asked.batch_rows),
        done,
    )
    metadata = {"millrace.graph": job.graph, "millrace.graph_digest": job.graph_digest}
    metadata |= {f"millrace.version.{node}": f"{v.model}/{v.number}" for node, v in job.versions.items()}
    finishing = Finishing(place, asked.format, checked.flat.outputs, signature.outputs or {}, metadata)
    return _Job(checked, links, units, place, job, before, reader, finishing)


def _inputs(asked: Asked, signature: Signature) -> tuple[dict[str, TensorSpec], Any]:
    """Inputs that come from columns, and the constants."""
    inputs = dict(signature.inputs or {})
    given = constants(asked.constants, inputs)
    return {name: spec for name, spec in inputs.items() if name not in given}, given


def _check_columns(asked: Asked, units: Sequence[Unit], inputs: Mapping[str, TensorSpec], signature: Signature) -> None:
    check_names(asked.keep, signature.outputs or {})
    known = types(inputs, asked.columns)
    for path, unit in {unit.name: unit for unit in units}.items():
        schema = schema_of(unit, types=known)
        try:
            check(schema, inputs, asked.columns)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.message}") from None
        schema_of(unit, [*known, *asked.keep], known)  # raises for a column that is not there


def _manifest(asked: Asked, checked: CheckedGraph, units: Sequence[Unit], versions: Mapping[str, Version]) -> Manifest:
    options = Options(dict(asked.columns), dict(asked.constants), asked.keep, asked.format, asked.part_rows, PART_BYTES)
    stamps = hashlib.sha256(repr([(unit.name, unit.stamp) for unit in units]).encode()).hexdigest()
    return Manifest(checked.flat.name, manifest.digest_of(checked.flat), stamps, len(units), options, versions)


def _begun(asked: Asked, place: Place, earlier: Manifest | None, now: Manifest) -> tuple[Manifest, list[Finished]]:
    """The job as its manifest has it, and the parts that are finished."""
    if earlier is not None:
        manifest.check_same(earlier, now, place)
        place.tidy()
        return earlier, _finished(place)
    _clear(asked, place)
    manifest.save(now, place)
    return now, []


def _clear(asked: Asked, place: Place) -> None:
    """Raises ConfigError for a place that holds anything, unless it is a job's output that may be overwritten."""
    there = place.names() if place.exists() else []
    others = [name for name in there if not _OURS.fullmatch(name)]
    if others:
        raise ConfigError(
            f"{place} holds files that are no job's ({', '.join(others[:3])}), which are not overwritten; choose "
            "another --output"
        )
    if there and not asked.overwrite:
        remedy = (
            "--overwrite it"
            if manifest.FILE not in there or REPORT in there
            else "--resume that job, or --overwrite it"
        )
        raise ConfigError(f"{place} holds the output of a job; {remedy}, or choose another --output")
    # What says that parts are done goes first, what says whose they are last: whoever is killed between can go on.
    for name in sorted(there, key=lambda name: (name == manifest.FILE, not name.startswith(f"{DONE}/"))):
        place.delete(name)
    if there:
        place.tidy()


def _finished(place: Place) -> list[Finished]:
    documents = [place.read_json(name) for name in place.names(DONE)]
    try:
        return [Finished(**document) for document in documents if document is not None]
    except TypeError as error:
        raise ConfigError(f"{place}/{DONE} holds what no job wrote ({error}); --overwrite the output") from None


def _is_done(unit: Unit, finished: Sequence[Finished]) -> bool:
    """Whether all parts of a unit are finished: the last one is, and each before it."""
    own = {part.name: part.last for part in finished if part.name.startswith(f"{unit.index:05d}-")}
    return any(own.values()) and max(own) == f"{unit.index:05d}-{len(own) - 1:05d}"


def _report(asked: Asked, job: _Job, tally: Tally, seconds: float) -> Report:
    versions = {node: f"{version.model}/{version.number}" for node, version in job.manifest.versions.items()}
    return Report(
        job.graph.flat.name,
        str(job.place),
        tally.rows,
        tally.bad,
        tally.resumed,
        tally.parts,
        round(seconds, 3),
        {stage: round(spent, 3) for stage, spent in tally.seconds.items()},
        versions,
    )
