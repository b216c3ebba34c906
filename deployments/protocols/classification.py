"""An output as its best classes: Triton's classification extension, for every door.

Spec: "Classification Extension" (Triton). Each row gives its `k` largest elements, the largest first, as the BYTES
`value:index`.
"""

from collections.abc import Mapping

import numpy as np

from configs.errors import InvalidInput
from configs.tensors import Datatype, Rows, TensorSpec
from deployments.protocols.request import shown

EXTENSION = "classification"
"""Name of the extension in server metadata, and of the output's parameter."""

_LEAST = -np.inf


def class_count(name: str, value: object, spec: TensorSpec) -> int:
    """How many classes the parameter `classification` of output `name` asks for; 0 is no classification.

    Raises InvalidInput for what is not a whole number from 0 up, and for outputs that are not numbers.
    """
    if type(value) is not int or value < 0:
        raise InvalidInput(
            f"output {shown(name)}: classification is {shown(value)}, expected the number of classes, from 0 up"
        )
    if value and spec.datatype in (Datatype.BYTES, Datatype.BOOL):
        raise InvalidInput(f"output {shown(name)} is {spec.datatype}; classification needs numbers, ask for the tensor")
    return value


def classified(outputs: Rows, classes: Mapping[str, int]) -> Rows:
    """The outputs with those named in `classes` (output → number of classes, at least 1) as class strings."""
    return {name: top_classes(array, classes[name]) if name in classes else array for name, array in outputs.items()}


def top_classes(array: np.ndarray, count: int) -> np.ndarray:
    """BYTES of shape (rows, min(count, elements of a row)): `value:index`, as Triton writes them.

    As in Triton all dimensions of a row count as one, floats have six decimals; of equal values the first comes
    first, NaN comes last.
    """
    rows = array.reshape(len(array), -1)
    if rows.dtype.kind not in "iu":
        rows = rows.astype(np.float64)
    best = _largest(rows, count)
    values = np.take_along_axis(rows, best, axis=1)
    form = b"%d:%d" if rows.dtype.kind in "iu" else b"%f:%d"
    strings = np.empty(best.size, dtype=object)
    strings[:] = [form % pair for pair in zip(values.ravel().tolist(), best.ravel().tolist(), strict=True)]
    return strings.reshape(best.shape)


def _largest(rows: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest of each row, the largest first."""
    if rows.dtype.kind == "f":
        rows = np.where(np.isnan(rows), _LEAST, rows)
    # A stable sort of the reversed row, read backwards, leaves equal values in their order.
    order = np.argsort(rows[:, ::-1], axis=1, kind="stable")
    best: np.ndarray = rows.shape[1] - 1 - order[:, : -count - 1 : -1]
    return best
