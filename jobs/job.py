"""One batch job: a graph over a data set, from what a user asks for to the report."""

import hashlib
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from configs.errors import ConfigError
from configs.node_options import Replicas
from configs.tensors import Rows, Signature, TensorSpec
from graphs.check import CheckedGraph, check_file
from graphs.load import signature_of
from graphs.plan import Plan, compile_plan
from graphs.trial import signatures
from jobs import manifest, profile
from jobs.chain import CALL_ROWS, Link, chain, for_a_job, says_rows
from jobs.checks import Check
from jobs.columns import check, constants, types
from jobs.encoding import FORMATS
from jobs.finishing import ERRORS, Finishing
from jobs.limit import holds, limited
from jobs.manifest import Manifest, Options
from jobs.output import REPORT, check_free, check_outside, done_units, finished, take
from jobs.reader import Reader
from jobs.reading import schema_of
from jobs.tally import Finished, Report, Tally
from jobs.units import Unit, find_units
from jobs.versions import resolve
from jobs.writing import Place, check_names, check_types
from servables.base import LoadOptions

PART_ROWS = 8192
"""Most rows of a part, so of an output file."""
PART_BYTES = 32 << 20
"""Most bytes of a part as it is read, about: a few parts of each process are in memory at a time."""
PROBED_ROWS = 100_000
"""From so many rows on, a probe finds how many a call takes."""
_LOOKERS = 16


class Tell(Protocol):
    """Hears how far a job is."""

    def done(self, tally: Tally, rows: int | None) -> None:
        """After each part: what is done, and how many rows there are in all; None where only reading tells."""
        ...

    def stages(self, rows: Mapping[str, int]) -> None:
        """Now and then, from another thread: stage → rows that it has done in this run."""
        ...


class Silent:
    """Tells nobody."""

    def done(self, tally: Tally, rows: int | None) -> None:
        """Nothing."""

    def stages(self, rows: Mapping[str, int]) -> None:
        """Nothing."""


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
    limit: int | None = None
    """No more than the first rows, as files follow each other by name."""
    sample: float = 1.0
    """Share of the rows that are taken, by chance, and the same ones each time."""
    check: str | None = None
    """A pandera schema, `module:Name`, that rows must pass to be scored."""
    batch_rows: int | None = None
    """Most rows in one call of a node that does not say it itself; None: found by a probe, if there are many."""
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


@dataclass(frozen=True)
class Job:
    """A job of which all is known that can be known without Ray. Nothing has been written yet; it is begun once."""

    asked: Asked
    graph: CheckedGraph
    units: Sequence[Unit]
    place: Place
    manifest: Manifest
    going_on: bool
    """An earlier run has begun it."""
    inputs: Mapping[str, TensorSpec]
    """Those that come from columns."""
    constants: Rows
    signature: Signature

    @property
    def rows(self) -> int | None:
        """Of the whole input, of a sample about; None where only reading tells."""
        counts = [unit.rows for unit in self.units]
        return round(self.asked.sample * sum(filter(None, counts))) if None not in counts else None

    def links(self) -> list[Link]:
        """What Ray Data does one after another. Raises ConfigError if a node cannot be part of a job."""
        processes = Replicas(min=self.asked.processes, max=self.asked.processes)  # type: ignore[call-arg]
        return chain(self._plan(), self.asked.cpus, processes)

    def reader(self, done: frozenset[str] = frozenset()) -> Reader:
        """What makes parts of units, but for those that are done."""
        asked, plan = self.asked, self._plan()
        rows = max((link.call_rows for link in self.links()), default=CALL_ROWS)  # each link cuts for itself
        return Reader(
            plan,
            self.inputs,
            self.constants,
            asked.columns,
            asked.keep,
            asked.part_rows,
            PART_BYTES,
            rows,
            done,
            asked.sample,
            _check(asked),
        )

    def is_finished(self) -> bool:
        """Whether earlier runs did all of it, and told so."""
        return self.place.exists(REPORT) and self.all_done()

    def all_done(self) -> bool:
        """Whether earlier runs did all of it, so that it needs no Ray."""
        done = done_units(self._earlier[0])
        return all(unit.index in done for unit in self.units)

    def with_calls(self, calls: Mapping[str, int]) -> "Job":
        """The job that calls nodes with so many rows at most."""
        return replace(self, manifest=replace(self.manifest, calls=calls))

    def begin(self) -> "Running":
        """From now on the output is this run's."""
        before, tally = self._earlier
        job = take(self.place, self.manifest, fresh=not self.going_on)
        metadata = {"millrace.graph": job.graph, "millrace.graph_digest": job.graph_digest}
        metadata |= {f"millrace.version.{node}": f"{v.model}/{v.number}" for node, v in job.versions.items()}
        outputs, specs = self.graph.flat.outputs, self.signature.outputs or {}
        finishing = Finishing(self.place, self.asked.format, outputs, specs, metadata, job.run)
        reader = self.reader(frozenset(part.name for part in before))
        return Running(self, before, tally, self.links(), reader, finishing)

    @cached_property
    def _earlier(self) -> tuple[list[Finished], Tally]:
        """The parts that earlier runs finished, and their sums; each part's word is read once."""
        before, tally = [], Tally()
        for part in finished(self.place) if self.going_on else ():
            tally.add(part, resumed=True)
            before.append(replace(part, profiles={}))  # merged into one, which is small however many parts there are
        return before, tally

    def _plan(self) -> Plan:
        return compile_plan(for_a_job(self.graph.flat, self.manifest.calls), self.asked.cpus)


@dataclass(frozen=True)
class Running:
    """A job whose output is taken."""

    job: Job
    before: Sequence[Finished]
    """Parts that an earlier run finished."""
    tally: Tally
    """Of these parts, and then of all."""
    links: Sequence[Link]
    reader: Reader
    finishing: Finishing

    @property
    def left(self) -> list[Unit]:
        """Units of which not all parts are finished."""
        done = done_units(self.before)
        return [unit for unit in self.job.units if unit.index not in done]

    def parts(self, told: Callable[[Mapping[str, int]], None]) -> Generator[Finished]:
        """Each part that is left, when its files are whole; `told` hears from another thread how far each stage is."""
        if self.left:
            from jobs.cluster import fitted  # these two need Ray
            from jobs.pipeline import Work, finished_parts

            links, versions = fitted(self.links), self.job.manifest.versions
            work = Work(self.left, self.reader, links, self.job.graph.root, versions, self.finishing)
            yield from finished_parts(work, told)

    def report(self, tally: Tally, seconds: float) -> Report:
        """What came of it."""
        versions = {node: f"{version.model}/{version.number}" for node, version in self.job.manifest.versions.items()}
        return Report(
            self.job.manifest.graph,
            str(self.job.place),
            tally.rows,
            tally.bad,
            tally.resumed,
            tally.parts,
            round(seconds, 3),
            {stage: round(spent, 3) for stage, spent in tally.seconds.items()},
            versions,
            dict(tally.peak_mb),
        )


def run(job: Job, tell: Tell = Silent()) -> Report:  # noqa: B008 - it keeps nothing
    """Do a job, or what is left of it. Ray must be initialised, unless the job is finished.

    Raises:
        TooManyErrors: the job ended early; --resume goes on with it.
        MillraceError: what ended it, as a model that does not load, or another run that took the output.
    """
    if job.is_finished():
        return Report.parsed(job.place.read_json(REPORT))
    if not job.all_done():
        from jobs.cluster import fitted  # needs Ray

        fitted(job.links())  # before anything is written
    running = _probed(job).begin()
    tally = running.tally
    started = time.monotonic()
    _check_errors(job, tally)
    tell.done(tally, job.rows)
    with closing(running.parts(tell.stages)) as parts:
        for part in parts:
            tally.add(part)
            tell.done(tally, job.rows)
            _check_errors(job, tally)
    report = running.report(tally, time.monotonic() - started)
    manifest.check_ours(job.place, running.finishing.run)
    job.place.write_json(profile.FILE, {side: each.document() for side, each in tally.profiles.items()})
    job.place.write_json(REPORT, report.document())
    return report


def _probed(job: Job) -> Job:
    """The job with the rows of each call: given, known of an earlier run, or, if it is a long one, tried out."""
    said = job.asked.batch_rows is not None or all(says_rows(node) for node in job.graph.flat.nodes.values())
    if job.going_on or said or not holds(job.units, math.ceil(PROBED_ROWS / job.asked.sample)):
        return job
    from jobs.cluster import fitted  # these two need Ray
    from jobs.probe import SIZES, probe

    large = job.with_calls(dict.fromkeys(job.graph.flat.nodes, SIZES[-1]))
    unit = max(job.units, key=lambda unit: unit.rows or 0)
    return job.with_calls(probe(unit, large.reader(), fitted(large.links()), job.graph.root, job.manifest.versions))


def _check_errors(job: Job, tally: Tally) -> None:
    most = job.asked.max_errors
    if most is not None and tally.bad > most:
        raise TooManyErrors(
            f"{tally.bad:,} rows have no answer, more than --max-errors {most}; {job.place}/{ERRORS} says why; with a "
            "higher limit --resume goes on"
        )


def prepare(asked: Asked) -> Job:
    """All that can be said before anything is started or written.

    Raises:
        ConfigError: what is asked for cannot be done: graph, columns, or an output that is another job's.
        MillraceError: a model is not there.
    """
    if asked.format not in FORMATS:
        raise ConfigError(f"--format {asked.format}: use {', '.join(FORMATS)}")
    if not 0 < asked.sample <= 1:
        raise ConfigError(f"sample {asked.sample}: take a share of the rows above 0, and at most 1")
    checked = check_file(asked.graph, asked.root, asked.profile)
    calls = {} if asked.batch_rows is None else dict.fromkeys(checked.flat.nodes, asked.batch_rows)
    plan = compile_plan(for_a_job(checked.flat, calls), asked.cpus)
    place = Place(asked.output)
    earlier = manifest.begun(place) if asked.resume and not asked.overwrite else None
    units = find_units(asked.inputs, asked.input_format)
    versions = resolve(checked.flat, asked.root) if earlier is None else earlier.versions
    chosen = {node: (version.number, version.content) for node, version in versions.items()}
    signature = signature_of(plan, signatures(checked.flat, asked.root, LoadOptions(), chosen))
    inputs, given = _inputs(asked, signature)
    check_outside(place, units)
    if asked.limit is not None:
        units = limited(units, asked.limit)
    _check_columns(asked, units, inputs, signature)
    now = Manifest(
        checked.flat.name, manifest.digest_of(checked.flat), _stamp(units), len(units), _options(asked), versions, calls
    )
    if earlier is None:
        check_free(place, asked.overwrite)
    else:
        manifest.check_same(earlier, now, place)
    job = Job(asked, checked, units, place, earlier or now, earlier is not None, inputs, given, signature)
    job.links()  # raises for nodes that cannot be part of a job
    return job


def _inputs(asked: Asked, signature: Signature) -> tuple[dict[str, TensorSpec], Rows]:
    """Inputs that come from columns, and the constants."""
    inputs = dict(signature.inputs or {})
    given = constants(asked.constants, inputs)
    return {name: spec for name, spec in inputs.items() if name not in given}, given


def _check(asked: Asked) -> Check | None:
    return None if asked.check is None else Check(asked.check)


def _check_columns(asked: Asked, units: Sequence[Unit], inputs: Mapping[str, TensorSpec], signature: Signature) -> None:
    """Of each file, some at the same time."""
    check_names(asked.keep, signature.outputs or {})
    known = types(inputs, asked.columns)
    wanted = list(dict.fromkeys([*known, *asked.keep]))

    def look(unit: Unit) -> pa.Schema:
        schema = schema_of(unit, types=known)
        try:
            check(schema, inputs, asked.columns)
        except ConfigError as error:
            raise ConfigError(f"{unit.name}: {error.message}") from None
        more = [name for name in wanted if name not in schema.names]
        return schema_of(unit, [*schema.names, *more], known) if more else schema  # raises for what is not there

    files = {unit.name: unit for unit in units}
    with ThreadPoolExecutor(_LOOKERS) as pool:
        schemas = dict(zip(files, pool.map(look, files.values()), strict=True))
    check_types(schemas, asked.keep)
    if (data_check := _check(asked)) is not None:
        for name, schema in schemas.items():
            data_check.check_columns(schema, name)


def _options(asked: Asked) -> Options:
    return Options(
        dict(asked.columns),
        dict(asked.constants),
        asked.keep,
        asked.format,
        asked.limit,
        asked.part_rows,
        PART_BYTES,
        asked.sample,
        asked.check,
    )


def _stamp(units: Sequence[Unit]) -> str:
    return hashlib.sha256(repr([(unit.name, unit.stamp) for unit in units]).encode()).hexdigest()
