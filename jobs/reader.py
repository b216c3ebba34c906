"""The first stage of a job: reads a unit, and makes parts of its rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from configs.tensors import Rows, TensorSpec
from graphs.flat import Edge
from graphs.frame import Frame
from graphs.plan import Plan
from jobs import reading
from jobs.columns import same_shapes, to_rows, types
from jobs.part import Bad, Part
from jobs.scoring import Piece, cut
from jobs.units import Unit

READ = "read"
"""The stage's name, in reports and errors."""


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

    @property
    def wanted(self) -> list[str]:
        """Columns that are read."""
        return list(dict.fromkeys([*types(self.inputs, self.columns), *self.keep]))

    def __call__(self, unit: Unit) -> Iterator[Part]:
        """The parts of a unit that are not done. Raises ConfigError for a file that cannot be read on."""
        pieces = reading.read(unit, self.rows, self.most_bytes, self.wanted, types(self.inputs, self.columns))
        number, now = 0, next(pieces, None)
        while now is not None:
            after = next(pieces, None)
            name = f"{unit.index:05d}-{number:05d}"
            if name not in self.done:
                yield self._part(name, unit, now, last=after is None)
            number, now = number + 1, after

    def _part(self, name: str, unit: Unit, piece: reading.Piece, last: bool) -> Part:
        table = piece.table
        bad, pieces = dict(piece.bad), []
        for places in same_shapes(table, self.inputs, self.columns):
            own = table if len(places) == table.num_rows else table.take(pa.array(places))
            rows, good, wrong = to_rows(own, self.inputs, self.columns)
            bad = {int(places[row]): why for row, why in wrong.items()} | bad
            # A row of which only a kept column could not be read has inputs, but is bad all the same.
            fine = ~np.isin(places[good], list(piece.bad))
            pieces += self._pieces({name: value[fine] for name, value in rows.items()}, places[good][fine])
        named = [Bad(row, READ, bad[row]) for row in sorted(bad)]
        kept = table.select(list(self.keep))
        return Part(name, unit.name, piece.first_row, table.num_rows, last, kept, pieces, named)

    def _pieces(self, rows: Rows, places: np.ndarray) -> list[Piece]:
        frame = Frame(len(places), (), self.plan.cases, self.plan.scope_of)
        for name, value in rows.items():
            frame.put(Edge("", name), value)
        for name, value in self.constants.items():
            frame.put(Edge("", name), np.repeat(value, len(places), axis=0))
        return cut(frame, places, self.call_rows) if len(places) else []
