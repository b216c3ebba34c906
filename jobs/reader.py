"""The first stage of a job: reads a unit, and makes parts of its rows."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from configs.tensors import Rows, TensorSpec
from graphs.flat import Edge
from graphs.frame import Frame
from graphs.plan import Plan
from jobs import reading
from jobs.checks import CHECK, Check
from jobs.columns import same_shapes, to_rows, types
from jobs.memory import peak_mb
from jobs.part import Bad, Part
from jobs.profile import Profile, chance_of
from jobs.scoring import Piece, cut
from jobs.units import Unit

READ = "read"
"""The stage's name, in reports and errors."""
_SEED = 6
"""Of samples: the same rows each time."""


@dataclass(frozen=True)
class Reader:
    """Makes the same parts of the same units whenever it reads them.

    Args:
        inputs: of the graph that come from columns.
        constants: those that are one number for all rows: name → array of shape [1].
        columns: input → column, where their names differ.
        keep: columns that pass through.
        rows: most of a part.
        most_bytes: of a part, about.
        call_rows: rows that go through the nodes together.
        done: names of parts that are not made again.
        sample: share of the rows that are taken, by chance; the others are as if they were not there.
        check: what rows must pass to be scored.
    """

    plan: Plan
    inputs: Mapping[str, TensorSpec]
    constants: Rows
    columns: Mapping[str, str]
    keep: tuple[str, ...]
    rows: int
    most_bytes: int
    call_rows: int
    done: frozenset[str] = frozenset()
    sample: float = 1.0
    check: Check | None = None

    def __call__(self, unit: Unit) -> Iterator[Part]:
        """The parts of a unit that are not done. Raises ConfigError for a file that cannot be read on."""
        known = types(self.inputs, self.columns)
        pieces = reading.read(unit, self.rows, self.most_bytes, self._wanted(unit), known)
        started = time.perf_counter()
        number = 0
        now: reading.Piece | None = next(pieces, None) or self._empty(unit)
        while now is not None:
            after = next(pieces, None)
            name = f"{unit.index:05d}-{number:05d}"
            if name not in self.done:
                part = self._part(name, unit, now, last=after is None)
                part.seconds[READ] = time.perf_counter() - started
                yield part
                started = time.perf_counter()
            number, now = number + 1, after

    def _empty(self, unit: Unit) -> reading.Piece:
        """Of a unit without rows: its part says that it has been read."""
        schema = reading.schema_of(unit, self._wanted(unit), types(self.inputs, self.columns))
        return reading.Piece(schema.empty_table(), unit.first_row)

    def _wanted(self, unit: Unit) -> list[str]:
        """Columns that are read."""
        known = types(self.inputs, self.columns)
        checked = [] if self.check is None else self.check.columns(reading.schema_of(unit, types=known).names)
        return list(dict.fromkeys([*known, *self.keep, *checked]))

    def _part(self, name: str, unit: Unit, piece: reading.Piece, last: bool) -> Part:
        piece, taken = self._sampled(unit, piece)
        table, profile = piece.table, Profile()
        failed = {} if self.check is None else self.check(table, without=piece.bad)
        pieces, bad = self._scored(name, piece, set(failed), profile)
        named = [Bad(row, CHECK, why) for row, why in failed.items()]
        named += [Bad(row, READ, why) for row, why in bad.items() if row not in failed]
        named.sort(key=lambda each: each.row)
        made = Part(
            name, unit.name, piece.first_row, table.num_rows, last, table.select(list(self.keep)), pieces, named
        )
        made.peak_mb, made.inputs, made.taken = {READ: peak_mb()}, profile.state(), taken
        return made

    def _scored(
        self, name: str, piece: reading.Piece, failed: set[int], profile: Profile
    ) -> tuple[list[Piece], dict[int, str]]:
        """The rows that are to be scored, which the profile counts, and why others cannot be."""
        table, chance = piece.table, chance_of(name)
        pieces, bad = [], dict(piece.bad)
        for places in same_shapes(table, self.inputs, self.columns):
            own = table if len(places) == table.num_rows else table.take(pa.array(places))
            rows, good, wrong = to_rows(own, self.inputs, self.columns)
            bad = {int(places[row]): why for row, why in wrong.items()} | bad
            # A row of which only a kept column could not be read has inputs, but is bad all the same.
            fine = ~np.isin(places[good], [*piece.bad, *failed])
            rows = {each: value[fine] for each, value in rows.items()}
            profile.add(rows, chance)
            pieces += self._pieces(rows, places[good][fine])
        without = [*piece.bad, *failed]
        profile.add_nulls({each: _nulls(table[self.columns.get(each, each)], without) for each in profile.columns})
        return pieces, bad

    def _sampled(self, unit: Unit, piece: reading.Piece) -> tuple[reading.Piece, np.ndarray | None]:
        """The rows that are taken, and where in the piece they were; None: all are."""
        if self.sample >= 1:
            return piece, None
        chance = np.random.default_rng([_SEED, unit.index, piece.first_row])
        rows = np.flatnonzero(chance.random(piece.table.num_rows) < self.sample)
        bad = {place: piece.bad[row] for place, row in enumerate(rows.tolist()) if row in piece.bad}
        return reading.Piece(piece.table.take(pa.array(rows)), piece.first_row, bad), rows

    def _pieces(self, rows: Rows, places: np.ndarray) -> list[Piece]:
        frame = Frame(len(places), (), self.plan.cases, self.plan.scope_of)
        for name, value in rows.items():
            frame.put(Edge("", name), value)
        for name, value in self.constants.items():
            frame.put(Edge("", name), np.repeat(value, len(places), axis=0))
        return cut(frame, places, self.call_rows) if len(places) else []


def _nulls(column: pa.ChunkedArray, without: list[int]) -> int:
    """How many there are in other rows than those."""
    return int(np.delete(column.is_null().to_numpy(), without).sum()) if column.null_count else 0
