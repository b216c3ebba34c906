"""What a job answered, as a new version of a servable: a lookup table, or a vector index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from configs.errors import ConfigError, MillraceError, ModelError
from configs.tensors import Datatype, TensorSpec
from jobs import manifest
from jobs.columns import types
from jobs.job import Job
from jobs.output import done_units, finished
from jobs.places import refusals
from jobs.reading import schema_of
from jobs.tally import Finished
from jobs.writing import Place, to_table
from servables.index_exact import Metric
from servables.index_write import write_index
from servables.keys import check_key
from servables.lookup_file import check_columns, write_lookup
from servables.push import Pushed, push_model
from servables.sources.base import without_secrets
from servables.sources.named import is_remote
from servables.store import Version, check_name, find_version
from servables.workplace import workplace

FOLDERS = {"lookup": "lookups", "index": "indexes", "faiss": "indexes"}
"""What is published → the folder in which a plain name is looked for."""
JOB = "job.json"
"""In a version's folder: of which job it is."""

Form = Literal["lookup", "index", "faiss"]


@dataclass(frozen=True)
class Publishing:
    """What an output shall become.

    Args:
        servable: its folder, as a node names it.
        root: the folder that relative paths start from.
        key: column of the keys, or of an index's ids.
        form: `lookup`: key → all other columns. `index`: the nearest vectors, exactly; `faiss`: by FAISS's graph.
        vector: column of an index's vectors.
        metric: of an index.
    """

    servable: str
    root: Path
    key: str
    form: Form = "lookup"
    vector: str = ""
    metric: Metric = "cosine"

    @property
    def folder(self) -> Path:
        """Where its versions lie."""
        return self.root / self.servable

    @property
    def how(self) -> dict[str, str]:
        """What decides the content beside the job, as JSON."""
        return {"key": self.key, "form": self.form, "vector": self.vector, "metric": self.metric}


@dataclass(frozen=True)
class Published:
    """A version that holds what a job answered."""

    wanted: Publishing
    pushed: Pushed
    rows: int
    left_out: int
    """Rows of the job that have no answer."""
    recall: float | None
    """Of FAISS's graph: share of the ten nearest items that it finds."""

    def lines(self) -> list[str]:
        """As text."""
        version, digests = self.pushed.version, self.pushed.digests
        what = f"{self.rows:,} rows, {digests.size / 1e6:,.1f} MB, sha256 {digests.digest[:12]}"
        lines = [f"{version.name} version {version.number} is published: {version.path} ({what})"]
        if self.left_out:
            lines.append(f"rows without an answer, which are not in it: {self.left_out:,}")
        if self.recall is not None:
            lines.append(f"its graph finds {self.recall:.1%} of the ten nearest (recall@10 against exact)")
        node = "lookup" if self.wanted.form == "lookup" else "retrieve"
        return [*lines, f"a graph's node serves it by `{node}: {self.wanted.servable}`"]


def plan(job: Job, name: str, key: str, form: Form = "lookup", metric: Metric = "cosine") -> Publishing:
    """What the answers of a job shall become; looked at before the job starts.

    Args:
        name: of the servable, which lies in `lookups/` or `indexes/`; with a `/` its folder.

    Raises:
        ConfigError: the job's answers are no such thing, or the name is a URL.
        ModelError: nothing can have this name, or the columns are no table's or index's.
    """
    servable = name if "/" in name else f"{FOLDERS[form]}/{name}"
    _check_name(servable)
    _check_format(job.asked.format, job.place)
    columns = _columns(job)
    if key not in columns.names:
        has = ", ".join(columns.names)
        raise ConfigError(f"--key {key}: the output has the columns {has}; name one of them, or --keep another")
    if form == "lookup":
        check_columns(columns, key)
        return Publishing(servable, job.asked.root, key)
    check_key(columns, key)
    outputs = {name: spec for name, spec in (job.signature.outputs or {}).items() if name != key}
    return Publishing(servable, job.asked.root, key, form, _vector(outputs), metric)


def _check_name(servable: str) -> None:
    if is_remote(servable):
        raise ConfigError(
            f"--publish {without_secrets(servable)}: versions are published into a folder of this machine; name one, "
            "and copy the version's folder to the URL when it is there"
        )
    check_name(Path(servable).name)


def _columns(job: Job) -> pa.Schema:
    """Of the files that the job writes."""
    kept = schema_of(job.units[0], job.asked.keep, types(job.inputs, job.asked.columns))
    specs = job.signature.outputs or {}
    outputs = {
        name: np.empty([0, *(abs(size) for size in spec.shape[1:])], spec.datatype.dtype)
        for name, spec in specs.items()
    }
    return to_table(kept.empty_table(), outputs, specs).schema


def _vector(outputs: Mapping[str, TensorSpec]) -> str:
    """The output that holds vectors."""
    found = [name for name, spec in outputs.items() if len(spec.shape) == 2 and spec.datatype in _FLOATS]
    if len(found) != 1:
        text = ", ".join(f"{name} {spec}" for name, spec in outputs.items()) or "no outputs"
        raise ConfigError(
            f"an index needs one output that is a vector of floats; of {text} it could be {len(found)}: let the graph "
            "give one"
        )
    return found[0]


_FLOATS = (Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64)


def already(place: Place, wanted: Publishing) -> Version | None:
    """The newest version, if it is this job's already: a schedule may say a second time that it be published."""
    try:
        newest = find_version(wanted.folder)
        about = orjson.loads((newest.path / JOB).read_bytes())
    except (ModelError, OSError, orjson.JSONDecodeError):  # there is none, or it is no job's
        return None
    same = about.get("how") == wanted.how and about.get("job") == place.read_json(manifest.FILE)
    return newest if same else None


def publish(place: Place, wanted: Publishing) -> Published:
    """Publish what a job answered: all of it as one new version, or nothing. The job is finished.

    Raises:
        ConfigError: there is no finished job, or its output cannot be published.
        ModelError: a row that cannot be in a table or index (keys are there once), or the disk refuses.
        MissingExtra: FAISS is not installed.
    """
    parts = sorted((replace(part, profiles={}) for part in finished(place)), key=lambda part: part.name)
    about = _job(place, parts)
    table = _table(place, parts, wanted)
    left_out = sum(part.bad for part in parts)
    document = {"output": str(place), "rows": table.num_rows, "left_out": left_out, "how": wanted.how, "job": about}
    try:
        with workplace(wanted.folder) as folder:
            version = folder / "version"
            version.mkdir()
            recall = _write(version, table, wanted)
            (version / JOB).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
            pushed = push_model(version, wanted.folder.name, wanted.folder.parent)
    except OSError as error:
        raise ModelError(f"{error.filename or wanted.folder}: {error.strerror}; nothing was published") from error
    except MillraceError as error:
        raise type(error)(f"{place} is not published: {error.message}") from error
    return Published(wanted, pushed, table.num_rows, left_out, recall)


def _job(place: Place, parts: Sequence[Finished]) -> object:
    """The finished job whose output it is, as its manifest says."""
    job = manifest.begun(place)
    if job is None or len(done_units(parts)) < job.units:
        raise ConfigError(f"{place} holds no output of a job that is finished; --resume the job first")
    _check_format(job.options.format, place)
    return place.read_json(manifest.FILE)


def _check_format(format: str, place: Place) -> None:
    if format != "parquet":
        raise ConfigError(
            f"{place}: the output is {format}, which does not keep types; what is published is Parquet: leave out "
            f"--format {format}"
        )


def _table(place: Place, parts: Sequence[Finished], wanted: Publishing) -> pa.Table:
    """The rows that have an answer, part by part: only the columns that are needed."""
    tables = [_read(place, part, wanted) for part in parts if part.rows > part.bad]
    if not tables:
        raise ConfigError(f"{place} is not published: no row has an answer; _errors/ says why")
    return pa.concat_tables(tables)


def _read(place: Place, part: Finished, wanted: Publishing) -> pa.Table:
    name = f"{part.name}.parquet"
    with refusals(f"{place}/{name}"):
        columns = None if wanted.form == "lookup" else [wanted.key, wanted.vector]
        return pq.ParquetFile(pa.BufferReader(place.read(name))).read(columns)


def _write(folder: Path, table: pa.Table, wanted: Publishing) -> float | None:
    if wanted.form == "lookup":
        write_lookup(folder, table, wanted.key)
        return None
    kind: Literal["exact", "faiss"] = "faiss" if wanted.form == "faiss" else "exact"
    return write_index(folder, table, wanted.key, wanted.vector, wanted.metric, kind).recall_at_10
