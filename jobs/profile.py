"""What the columns of a job hold: made part by part, merged at the end, compared with later data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa

from configs.tensors import Datatype, Rows
from deployments.protocols.binary import bytes_elements
from jobs.profile_values import Numbers, Texts

FILE = "_profile.json"


@dataclass
class Column:
    """One input or output."""

    datatype: Datatype
    rows: int
    """Those whose values are counted."""
    nulls: int
    """Rows without a value, beside them."""
    values: Numbers | Texts

    @classmethod
    def empty(cls, datatype: Datatype) -> "Column":
        """Nothing yet."""
        return cls(datatype, 0, 0, Texts() if datatype is Datatype.BYTES else Numbers())

    def add(self, array: np.ndarray, chance: np.random.Generator) -> None:
        """Count an array [rows, …]: its numbers all, for quantiles a sample."""
        self.rows += len(array)
        if isinstance(self.values, Texts):
            self.values.add(pa.array(bytes_elements(array), pa.binary()), len(array), chance)
        else:
            self.values.add(array, chance)

    def merge(self, other: "Column") -> None:
        """Take in the same column of another part."""
        self.rows, self.nulls = self.rows + other.rows, self.nulls + other.nulls
        self.values.merge(other.values)  # type: ignore[arg-type]  # of one datatype, so of one kind

    def state(self) -> dict[str, Any]:
        """As JSON, for `parsed`."""
        return {"datatype": str(self.datatype), "rows": self.rows, "nulls": self.nulls, **self.values.state()}

    @classmethod
    def parsed(cls, state: Mapping[str, Any]) -> "Column":
        """What `state` or `document` gave."""
        datatype = Datatype(state["datatype"])
        values = Texts.parsed(state) if datatype is Datatype.BYTES else Numbers.parsed(state)
        return cls(datatype, state["rows"], state["nulls"], values)

    def document(self) -> dict[str, Any]:
        """The state, with what people want to know of it."""
        return self.state() | self.values.document()


class Profile:
    """Columns by name, of any number of rows. Small: some kilobytes a column, however many rows it has seen."""

    def __init__(self, columns: Mapping[str, Column] | None = None) -> None:
        self.columns = dict(columns or {})

    def add(self, rows: Rows, chance: np.random.Generator) -> None:
        """Count rows. Raises TypeError for an array that is no tensor."""
        for name, array in rows.items():
            if name not in self.columns:
                self.columns[name] = Column.empty(Datatype.of(array))
            self.columns[name].add(array, chance)

    def add_nulls(self, nulls: Mapping[str, int]) -> None:
        """Count rows that have no value, of columns that are known."""
        for name, count in nulls.items():
            self.columns[name].nulls += count

    def merge(self, other: "Profile") -> None:
        """Take in other rows of the same columns. The other one must not be used any more."""
        for name, column in other.columns.items():
            if name in self.columns:
                self.columns[name].merge(column)
            else:
                self.columns[name] = column

    def state(self) -> dict[str, Any]:
        """As JSON, for `parsed`."""
        return {name: column.state() for name, column in self.columns.items()}

    @classmethod
    def parsed(cls, state: Mapping[str, Any]) -> "Profile":
        """What `state` or `document` gave."""
        return cls({name: Column.parsed(column) for name, column in state.items()})

    def document(self) -> dict[str, Any]:
        """The state, with quantiles, counts of different texts and the most frequent ones."""
        return {name: column.document() for name, column in self.columns.items()}


def chance_of(part: str) -> np.random.Generator:
    """The same sample each time that a part is made."""
    return np.random.default_rng(crc32(part.encode()))
