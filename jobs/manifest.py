"""What a job is, written beside its output: whoever goes on with it must do the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from configs.errors import ConfigError
from graphs.flat import FlatGraph
from jobs.chain import CALL_ROWS
from jobs.versions import Version
from jobs.writing import Place

FILE = "_manifest.json"
LAYOUT = 3
"""Of the output's folder; another number is another layout."""


@dataclass(frozen=True)
class Options:
    """What decides the content of the output, beside graph, versions and input."""

    columns: Mapping[str, str]
    """Graph input → column, where their names differ."""
    constants: Mapping[str, Any]
    """Inputs that are one number for all rows."""
    keep: tuple[str, ...]
    """Columns that pass through."""
    format: str
    limit: int | None
    part_rows: int
    part_bytes: int
    sample: float = 1.0
    """Share of the rows that are taken."""
    check: str | None = None
    """The schema that rows must pass, `module:Name`."""


@dataclass(frozen=True)
class Manifest:
    """One job."""

    graph: str
    """Name of the graph."""
    graph_digest: str
    input_digest: str
    """Of names, sizes and times of all files that are read."""
    units: int
    options: Options
    versions: Mapping[str, Version] = field(default_factory=dict)
    """Node → version, found when the job began."""
    calls: Mapping[str, int] = field(default_factory=dict)
    """Node → most rows of a call, given or found by a probe when the job began."""
    run: str = ""
    """The run that writes to the output, by a name of its own; whoever goes on with the job is another."""
    layout: int = LAYOUT


def digest_of(graph: FlatGraph) -> str:
    """Of all that a graph says, in hexadecimal."""
    nodes = {name: node.config.model_dump_json(by_alias=True) for name, node in graph.nodes.items()}
    parts = (graph.config.model_dump_json(by_alias=True, exclude={"profiles", "description"}), sorted(nodes.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def begun(place: Place) -> Manifest | None:
    """The job whose output lies there; None if there is none. Raises ConfigError for a manifest of another layout."""
    document = place.read_json(FILE)
    if document is None:
        return None
    try:
        return _parsed(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{place}/{FILE} is not the manifest of a job of this version of Millrace ({error}); choose another "
            "--output, or --overwrite it"
        ) from None


def claim(place: Place, run: str) -> None:
    """From now on no other run takes the output for its own; there is no job in it until one is saved."""
    place.write_json(FILE, {"run": run})


def check_same(before: Manifest, now: Manifest, place: Place) -> None:
    """Raises ConfigError that says in what a job differs from the one that it would go on with.

    Args:
        now: its `calls` are those that were given; none: those of the job.
    """
    other = [name for name in ("graph", "input") if getattr(before, f"{name}_digest") != getattr(now, f"{name}_digest")]
    old, new = asdict(before.options), asdict(now.options)
    other += [f"{name} ({old[name]} then, {new[name]} now)" for name in old if _text(old[name]) != _text(new[name])]
    if now.calls and now.calls != before.calls:
        rows = {node: before.calls.get(node, CALL_ROWS) for node in now.calls}
        other.append(f"batch_rows ({rows} then, {dict(now.calls)} now)")
    if other:
        raise ConfigError(
            f"{place} was begun with another {', another '.join(other)}: its parts would not go together; run the job "
            "as it was begun, or --overwrite it"
        )


def check_ours(place: Place, run: str) -> None:
    """Raises ConfigError if the output is no longer this run's, so that it adds nothing to another's."""
    document = place.read_json(FILE)
    if document is None or document["run"] != run:
        raise ConfigError(f"{place} was taken over by another run of the job, or by another job; this run ends")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # a tuple and what JSON made of it are the same


def save(manifest: Manifest, place: Place) -> None:
    """Write it, whole or not at all."""
    versions = {node: list(version) for node, version in manifest.versions.items()}
    place.write_json(FILE, {**asdict(manifest), "versions": versions})


def _parsed(document: dict[str, Any]) -> Manifest:
    if document["layout"] != LAYOUT:
        raise ValueError(f"its layout is {document['layout']}")
    options = document["options"]
    return Manifest(
        graph=str(document["graph"]),
        graph_digest=str(document["graph_digest"]),
        input_digest=str(document["input_digest"]),
        units=int(document["units"]),
        options=Options(**{**options, "keep": tuple(options["keep"])}),
        versions={node: Version(*version) for node, version in document["versions"].items()},
        calls=document["calls"],
        run=document["run"],
    )
