"""What values of one kind look like, in a few kilobytes: counts, moments, and sketches of Apache DataSketches.

Two of a kind can be merged, as what parts of a job hold; counts, minimum, maximum and mean are exact.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import datasketches
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ELEMENTS = 4
"""Of a row, that the sketch of quantiles sees; of rows with more, as many by chance."""
SAMPLED = 2048
"""Elements that it sees at a time; of more, a sample whose each element stands for two, four, eight, …."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SHOWN = 10
"""Most frequent texts in a document."""
LONG = 64
"""Bytes; longer texts are told apart by their ends and their length, and are none of the most frequent."""

_KLL = 200
"""Of the sketch of quantiles: a rank is right within 1.4 % of what it has seen, for 4 KB."""
_HLL = 11
"""log2 of the cells of the sketch of distinct texts: right within 2.3 %, for 1 KB."""
_FREQUENT = 7
"""log2 of the places for frequent texts: three quarters of so many different ones are counted exactly."""
_MANY = 1024
"""From so many different texts at a time on, those that come once are none of the frequent ones."""
_AT_ONCE = 65536
"""Elements that are looked at together, so that they stay in a core's cache."""


@dataclass
class Numbers:
    """Of finite numbers, how many there are and how they are distributed; and how many are none."""

    finite: int = 0
    nans: int = 0
    infinite: int = 0
    minimum: float | None = None
    maximum: float | None = None
    mean: float = 0.0
    squares: float = 0.0
    """Sum of the squared differences from the mean."""
    sketch: Any = field(default_factory=lambda: datasketches.kll_doubles_sketch(_KLL))
    """`kll_doubles_sketch` of a sample."""

    def add(self, rows: np.ndarray, chance: np.random.Generator) -> None:
        """Count numbers or truth values, of any shape [rows, …]."""
        flat = rows.reshape(-1)
        with np.errstate(over="ignore", invalid="ignore"):  # a mean or variance may be beyond a float's range
            for start in range(0, len(flat), _AT_ONCE):
                self._count(flat[start : start + _AT_ONCE])
        sample, doublings = _sample(rows, chance)
        numbers = sample.astype(np.float64)
        sketch = datasketches.kll_doubles_sketch(_KLL)
        sketch.update(numbers[np.isfinite(numbers)])
        for _ in range(doublings):
            sketch.merge(datasketches.kll_doubles_sketch.deserialize(sketch.serialize()))
        self.sketch.merge(sketch)

    def merge(self, other: "Numbers") -> None:
        """Take in what another one has seen."""
        self.nans, self.infinite = self.nans + other.nans, self.infinite + other.infinite
        self._moments(other.finite, other.mean, other.squares)
        self.minimum = min((x for x in (self.minimum, other.minimum) if x is not None), default=None)
        self.maximum = max((x for x in (self.maximum, other.maximum) if x is not None), default=None)
        self.sketch.merge(other.sketch)

    @property
    def std(self) -> float | None:
        """Standard deviation of the finite ones; None if there are none."""
        return math.sqrt(self.squares / self.finite) if self.finite else None

    def state(self) -> dict[str, Any]:
        """As JSON, for `parsed`."""
        known = {name: value for name, value in vars(self).items() if name != "sketch"}
        return {**known, "sketch": _text(self.sketch.serialize())}

    @classmethod
    def parsed(cls, state: Mapping[str, Any]) -> "Numbers":
        """What `state` or `document` gave."""
        known = {name: state[name] for name in cls.__dataclass_fields__ if name != "sketch"}
        for name in ("mean", "squares"):  # beyond a float's range JSON has no word for them
            known[name] = math.nan if known[name] is None else known[name]
        return cls(**known, sketch=datasketches.kll_doubles_sketch.deserialize(base64.b64decode(state["sketch"])))

    def document(self) -> dict[str, Any]:
        """The state, with what people want to know of it."""
        found = [] if self.sketch.is_empty() else self.sketch.get_quantiles(QUANTILES, True)
        quantiles = dict(zip(map(str, QUANTILES), found, strict=False))
        return {**self.state(), "std": self.std, "quantiles": quantiles}

    def _count(self, values: np.ndarray) -> None:
        numbers = values.astype(np.float64)
        mean = float(numbers.mean())
        if not math.isfinite(mean):
            fine = np.isfinite(numbers)
            nans = int(np.isnan(numbers).sum())
            self.nans, self.infinite = self.nans + nans, self.infinite + int((~fine).sum()) - nans
            values, numbers = values[fine], numbers[fine]
            if not len(values):
                return
            mean = float(numbers.mean())
        minimum, maximum = _number(values.min()), _number(values.max())
        self.minimum = minimum if self.minimum is None else min(self.minimum, minimum)
        self.maximum = maximum if self.maximum is None else max(self.maximum, maximum)
        numbers -= mean
        # No dot product: its threads would wait for each other where cores are busy.
        self._moments(len(numbers), mean, float(np.square(numbers, out=numbers).sum()))

    def _moments(self, count: int, mean: float, squares: float) -> None:
        """Chan, Golub, LeVeque: "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979."""
        if not count:
            return
        total, apart = self.finite + count, mean - self.mean
        self.mean += apart * count / total
        self.squares += squares + apart * apart * self.finite * count / total
        self.finite = total


def _number(value: Any) -> float:
    """A NumPy scalar as Python's; of truth values 0 and 1."""
    return int(value) if isinstance(value, np.bool_) else value.item()  # type: ignore[no-any-return]


def _sample(rows: np.ndarray, chance: np.random.Generator) -> tuple[np.ndarray, int]:
    """As many elements of each of some rows, flat, and how often twice as many rows were there.

    So all rows count the same, in whatever part they come.
    """
    elements = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    width = min(elements.shape[1], ELEMENTS)
    doublings = 0
    while (len(rows) >> doublings) * width > SAMPLED:
        doublings += 1
    if doublings:
        elements = elements[chance.integers(0, len(rows), len(rows) >> doublings)]
    if elements.shape[1] > ELEMENTS:
        elements = np.take_along_axis(elements, chance.integers(0, elements.shape[1], (len(elements), ELEMENTS)), 1)
    return elements.reshape(-1), doublings


@dataclass
class Texts:
    """Lengths of texts or bytes, how many different ones there are, and the most frequent."""

    lengths: Numbers = field(default_factory=Numbers)
    """In bytes."""
    distinct: Any = field(default_factory=lambda: datasketches.hll_union(_HLL))
    frequent: Any = field(default_factory=lambda: datasketches.frequent_strings_sketch(_FREQUENT))

    def add(self, texts: pa.Array, rows: int, chance: np.random.Generator) -> None:
        """Count binary values, as many of each of so many rows."""
        lengths = pc.binary_length(texts).to_numpy()
        self.lengths.add(lengths.reshape(rows, len(lengths) // max(rows, 1)), chance)
        counted = pc.value_counts(_keys(texts, int(lengths.max(initial=0))))
        values, counts = counted.field("values"), counted.field("counts").to_numpy()
        found = _decoded(values)
        for text in found:
            self.distinct.update(text)
        several = (counts > 1) | (len(counts) <= _MANY)
        for index in np.flatnonzero(several & (pc.binary_length(values).to_numpy() <= LONG)).tolist():
            self.frequent.update(found[index], int(counts[index]))

    def merge(self, other: "Texts") -> None:
        """Take in what another one has seen."""
        self.lengths.merge(other.lengths)
        self.distinct.update(other.distinct.get_result())
        self.frequent.merge(other.frequent)

    def state(self) -> dict[str, Any]:
        """As JSON, for `parsed`."""
        distinct = self.distinct.get_result(datasketches.tgt_hll_type.HLL_4).serialize_compact()
        frequent = _text(self.frequent.serialize())
        return {"lengths": self.lengths.state(), "sketches": {"distinct": _text(distinct), "frequent": frequent}}

    @classmethod
    def parsed(cls, state: Mapping[str, Any]) -> "Texts":
        """What `state` or `document` gave."""
        made = cls(Numbers.parsed(state["lengths"]))
        distinct, frequent = (base64.b64decode(state["sketches"][name]) for name in ("distinct", "frequent"))
        made.distinct.update(datasketches.hll_sketch.deserialize(distinct))
        made.frequent = datasketches.frequent_strings_sketch.deserialize(frequent)
        return made

    def document(self) -> dict[str, Any]:
        """The state, with what people want to know of it."""
        sure = datasketches.frequent_items_error_type.NO_FALSE_POSITIVES
        found = self.frequent.get_frequent_items(sure)[:SHOWN]
        return {
            **self.state(),
            "lengths": self.lengths.document(),
            "distinct": round(self.distinct.get_estimate()),
            "frequent": [{"text": text, "times": estimate} for text, estimate, _, _ in found],
        }


def _keys(texts: pa.Array, longest: int) -> pa.Array:
    """What stands for each text: itself, unless some are long; then its ends with its length."""
    if longest <= LONG:
        return texts
    size = pc.cast(pc.cast(pc.binary_length(texts), pa.string()), pa.binary())
    ends = [pc.binary_slice(texts, 0, LONG // 2), pc.binary_slice(texts, -LONG // 2), size]
    joined = pc.binary_join_element_wise(*ends, b"\0")
    return pc.if_else(pc.less_equal(pc.binary_length(texts), LONG), texts, joined)


def _decoded(texts: pa.Array) -> list[str]:
    try:
        return texts.cast(pa.string()).to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    except pa.ArrowInvalid:
        return [text.decode("utf-8", "backslashreplace") for text in texts.to_pylist()]


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
