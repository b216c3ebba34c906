"""Combine the answers of several members into one: mean, weighted mean, majority vote, max, concat."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from configs.tensors import Datatype, Rows, TensorSpec

_FLOATS = (Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64)
_INTEGERS = (
    *(Datatype.UINT8, Datatype.UINT16, Datatype.UINT32, Datatype.UINT64),
    *(Datatype.INT8, Datatype.INT16, Datatype.INT32, Datatype.INT64),
)

OUTPUT_OF = {"mean": "mean", "weighted_mean": "mean", "majority_vote": "vote", "max": "max", "concat": "concat"}
"""Kind → name of the one output that it gives."""


def combine(kind: str, members: Sequence[np.ndarray], weights: Sequence[float] | None = None) -> Rows:
    """Combine members row by row. A row's answer has the same bits whatever rows come with it.

    Args:
        kind: a key of `OUTPUT_OF`.
        members: arrays of one datatype and one shape (`concat`: up to the last axis).
        weights: one a member, for `weighted_mean`.

    Returns:
        One output, named by `OUTPUT_OF`, of the members' datatype.

    Raises:
        ValueError: the members cannot be combined this way; the message names the difference.
    """
    if not members:
        raise ValueError(f"{kind} has no members; give at least one")
    _check(kind, tuple((member.dtype, member.shape[1:]) for member in members))
    if len({len(member) for member in members}) > 1:
        raise ValueError(f"members have {', '.join(str(len(member)) for member in members)} rows; they must be as many")
    if kind == "weighted_mean" and (weights is None or len(weights) != len(members)):
        raise ValueError(f"weighted_mean of {len(members)} members has the weights {weights}; give one a member")
    return {OUTPUT_OF[kind]: _COMBINE[kind](members, weights)}


def output_specs(kind: str, members: Sequence[TensorSpec]) -> dict[str, TensorSpec]:
    """What `combine` gives for members of these datatypes and shapes; nothing while no member's are known.

    Raises:
        ValueError: members of these datatypes or shapes cannot be combined this way.
    """
    if kind not in OUTPUT_OF:
        raise ValueError(f"unknown ensemble {kind!r}; known are {', '.join(OUTPUT_OF)}")
    if not members:
        return {}
    datatype = members[0].datatype
    if any(member.datatype != datatype for member in members):
        raise ValueError(f"{kind} needs members of one datatype, not {_listed(members)}")
    _check_datatype(kind, datatype)
    shape = _concatenated(members) if kind == "concat" else _common(kind, members)
    if kind == "majority_vote" and shape[1:] not in ((), (1,)):
        raise ValueError(f"majority_vote takes one label a row, [-1] or [-1, 1], not {_listed(members)}")
    return {OUTPUT_OF[kind]: TensorSpec(datatype=datatype, shape=shape)}


@lru_cache(maxsize=256)
def _check(kind: str, members: tuple[tuple[np.dtype, tuple[int, ...]], ...]) -> None:
    """Check arrays as strictly as specs: NumPy would broadcast [n, 1] over [n, 10] without a word."""
    output_specs(kind, [TensorSpec(datatype=_datatype(dtype), shape=(-1, *shape)) for dtype, shape in members])


def _datatype(dtype: np.dtype) -> Datatype:
    return Datatype.of(np.empty(0, dtype))


def _check_datatype(kind: str, datatype: Datatype) -> None:
    if kind in ("mean", "weighted_mean") and datatype not in _FLOATS:
        raise ValueError(f"{kind} takes floating-point members (FP32, …), not {datatype}")
    if kind == "max" and datatype not in (*_FLOATS, *_INTEGERS):
        raise ValueError(f"max takes numbers, not {datatype}")
    if kind == "majority_vote" and datatype not in _INTEGERS:
        raise ValueError(f"majority_vote takes integer labels, not {datatype}; put a TopK before it for scores")


def _common(kind: str, members: Sequence[TensorSpec]) -> tuple[int, ...]:
    """The one shape of all members, each dimension as far as any member fixes it."""
    if len({len(member.shape) for member in members}) > 1:
        raise ValueError(f"{kind} needs members of one shape, not {_listed(members)}")
    shape = []
    for sizes in zip(*(member.shape for member in members), strict=True):
        fixed = {size for size in sizes if size != -1}
        if len(fixed) > 1:
            raise ValueError(f"{kind} needs members of one shape, not {_listed(members)}")
        shape.append(fixed.pop() if fixed else -1)
    return tuple(shape)


def _concatenated(members: Sequence[TensorSpec]) -> tuple[int, ...]:
    """The members' shapes with their last axes added up."""
    if any(len(member.shape) < 2 for member in members):
        raise ValueError(f"concat joins the last axis, and [-1] has none beside the rows: {_listed(members)}")
    heads = [TensorSpec(datatype=member.datatype, shape=member.shape[:-1]) for member in members]
    try:
        head = _common("concat", heads)
    except ValueError:
        raise ValueError(f"concat needs members that differ in the last axis only, not {_listed(members)}") from None
    lasts = [member.shape[-1] for member in members]
    return (*head, -1 if -1 in lasts else sum(lasts))


def _listed(members: Sequence[TensorSpec]) -> str:
    return " and ".join(dict.fromkeys(str(member) for member in members))


def _mean(members: Sequence[np.ndarray], weights: Sequence[float] | None) -> np.ndarray:
    """Weighted mean, added up member by member: no BLAS, whose order of additions depends on the batch's size."""
    weights = [1.0] * len(members) if weights is None else weights
    # FP16 and BF16 are added up in FP32, or their sum could overflow.
    wide = np.float64 if members[0].dtype == np.float64 else np.float32
    total: np.ndarray = np.multiply(members[0], wide(weights[0]), dtype=wide)
    for member, weight in zip(members[1:], weights[1:], strict=True):
        total += np.multiply(member, wide(weight), dtype=wide)
    total /= wide(sum(weights))
    return total.astype(members[0].dtype, copy=False)


def _vote(members: Sequence[np.ndarray], weights: Sequence[float] | None) -> np.ndarray:
    """The label that most members give; of equally many the smallest."""
    labels = np.stack(members, axis=-1)
    counts = (labels[..., :, None] == labels[..., None, :]).sum(axis=-1)
    winners = counts == counts.max(axis=-1, keepdims=True)
    smallest: np.ndarray = np.where(winners, labels, np.iinfo(labels.dtype).max).min(axis=-1)
    return smallest


def _max(members: Sequence[np.ndarray], weights: Sequence[float] | None) -> np.ndarray:
    largest = members[0]
    for member in members[1:]:
        largest = np.maximum(largest, member)
    return largest


def _concat(members: Sequence[np.ndarray], weights: Sequence[float] | None) -> np.ndarray:
    return np.concatenate(members, axis=-1)


_COMBINE: dict[str, Callable[[Sequence[np.ndarray], Sequence[float] | None], np.ndarray]] = {
    "mean": _mean,
    "weighted_mean": _mean,
    "majority_vote": _vote,
    "max": _max,
    "concat": _concat,
}
