"""The end of a part: its file, the rows that have no answer, and the word that both are whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from configs.tensors import Rows, TensorSpec
from graphs.flat import Edge
from jobs.manifest import check_ours
from jobs.part import Bad, Part
from jobs.profile import Profile, chance_of
from jobs.tally import Finished
from jobs.writing import Place, to_table

DONE = "_done"
"""Folder of what is known of finished parts, beside the output."""
ERRORS = "_errors"
"""Folder of the rows that have no answer."""


@dataclass(frozen=True)
class Finishing:
    """Writes parts. To write one again replaces what an earlier try left.

    Args:
        outputs: of the graph: name → edge.
        specs: of the graph's outputs.
        metadata: of every output file.
        run: whose output it is.
    """

    place: Place
    format: str
    outputs: Mapping[str, Edge]
    specs: Mapping[str, TensorSpec]
    metadata: Mapping[str, str]
    run: str

    def __call__(self, part: Part) -> Finished:
        """The files of a part. The last one that is written is the word that it is done.

        Raises ConfigError: another run has taken the output, or a file cannot be written.
        """
        check_ours(self.place, self.run)
        errors, table = f"{ERRORS}/{part.name}.jsonl", f"{part.name}.{self.format}"
        if part.bad:
            self.place.write_lines(errors, [self._error(part, each) for each in part.bad])
        else:
            self.place.delete(errors)  # of an earlier try, which ended before its word
        profile = Profile()
        if part.pieces:
            self.place.write_table(table, self._table(part, profile), self.format, self.metadata)
        else:
            self.place.delete(table)
        profiles = {"inputs": part.inputs, "outputs": profile.state()}
        done = Finished(part.name, part.rows, len(part.bad), part.last, part.seconds, part.peak_mb, profiles)
        check_ours(self.place, self.run)  # another one may have listed the files before this part's were there
        self.place.write_json(f"{DONE}/{part.name}.json", vars(done))
        return done

    def _error(self, part: Part, bad: Bad) -> dict[str, Any]:
        """Where the row lies, what is wrong with it, and its own columns that were to be kept."""
        [kept] = part.kept.slice(bad.row, 1).to_pylist() or [{}]
        place = {"source": part.source, "row": part.position(bad.row)}
        return {**place, "stage": bad.stage, "reason": bad.reason, "kept": kept}

    def _table(self, part: Part, profile: Profile) -> pa.Table:
        """Rows in their order; pieces go together as far as their outputs have the same shapes."""
        groups: dict[tuple[tuple[int, ...], ...], list[tuple[np.ndarray, Rows]]] = {}
        for piece in part.pieces:
            rows = {name: piece.frame.get(edge, ()) for name, edge in self.outputs.items()}
            groups.setdefault(tuple(array.shape[1:] for array in rows.values()), []).append((piece.places, rows))
        chance = chance_of(part.name)
        tables, places = zip(*(self._together(part, group, profile, chance) for group in groups.values()), strict=True)
        if len(tables) == 1:
            return tables[0]
        return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(places))))

    def _together(
        self, part: Part, pieces: list[tuple[np.ndarray, Rows]], profile: Profile, chance: np.random.Generator
    ) -> tuple[pa.Table, np.ndarray]:
        """A table of pieces whose outputs have the same shapes, and its rows' places, which rise."""
        places = np.concatenate([own for own, _ in pieces])
        order = np.argsort(places)
        outputs = {name: np.concatenate([rows[name] for _, rows in pieces])[order] for name in self.outputs}
        profile.add(outputs, chance)
        return to_table(part.kept.take(pa.array(places[order])), outputs, self.specs), places[order]
