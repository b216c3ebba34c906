"""The decoded request that all protocols share, and the check of its rows against a graph's inputs."""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from configs.errors import InvalidInput
from configs.tensors import Datatype, Rows, TensorSpec

Parameter = str | int | float | bool
"""Value of a request parameter, in JSON and in gRPC."""

_SHORT = reprlib.Repr()
_LONGEST = 200
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlist = _SHORT.maxdict = 8
_SHORT.maxlevel = 3


class RequestedOutput(NamedTuple):
    """One output that the caller asked for, and whether its data travels as binary."""

    name: str
    binary: bool


@dataclass(slots=True)
class InferRequest:
    """What a caller asked, independent of the protocol. The codecs return it with its rows checked."""

    model: str
    version: str
    """Empty: the version that the graph routes to."""
    id: str
    """Empty: the caller gave none."""
    rows: Rows
    parameters: dict[str, Parameter]
    outputs: list[RequestedOutput] | None
    """None: all outputs."""
    binary_output: bool
    """Whether outputs travel as binary where `outputs` does not say."""
    single: bool = False
    """Plain JSON only: the inputs came as one row without the leading dimension, so the answer goes back so."""
    classes: dict[str, int] = field(default_factory=dict)
    """Requested output → how many of its best classes to give instead of the tensor."""

    @property
    def row_count(self) -> int:
        """Number of rows, at least 1."""
        return len(next(iter(self.rows.values())))


def shown(value: object) -> str:
    """A short `repr` for messages: a hostile value must not make a long answer."""
    text = _SHORT.repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def parameters_of(value: object) -> dict[str, Parameter]:
    """The parameters in a JSON document; None is none. Raises InvalidInput for what parameters cannot be."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidInput(f"`parameters` must be an object, got {shown(value)}")
    for name, item in value.items():
        if not isinstance(item, str | int | float):
            raise InvalidInput(f"parameter {shown(name)} is {shown(item)}, expected a string, a number or a boolean")
    return value


def flag(parameters: Mapping[str, Parameter], name: str, default: bool = False) -> bool:
    """The value of a parameter that is true or false. Raises InvalidInput for anything else."""
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidInput(f"parameter `{name}` is {shown(value)}, expected true or false")
    return value


def check_rows(rows: Rows, inputs: Mapping[str, TensorSpec]) -> int:
    """Check arrays against a graph's inputs and return the number of rows.

    Names must be exactly those declared; datatype, rank and fixed dimensions must fit; all arrays need the
    same leading dimension, at least 1; values must lie within `minimum` and `maximum` (NaN does not).
    Inputs with one number for all rows are repeated in `rows`, as `check_together` does.
    Raises InvalidInput that names the input, what came and what is expected.
    """
    for name, array in rows.items():
        spec = spec_of(name, inputs)
        try:
            datatype = Datatype.of(array)
        except TypeError as error:
            raise InvalidInput(f"input {shown(name)}: {error}; expected {spec.datatype}") from None
        check_tensor(name, datatype, array.shape, spec)
    return check_together(rows, inputs)


def spec_of(name: object, inputs: Mapping[str, TensorSpec]) -> TensorSpec:
    """The declared input `name`. Raises InvalidInput with the list of inputs if there is none."""
    spec = inputs.get(name) if type(name) is str else None
    if spec is None:
        raise InvalidInput(f"unknown input {shown(name)}; the graph takes {_listed(inputs)}")
    return spec


def check_tensor(name: str, datatype: object, shape: Sequence[int], spec: TensorSpec) -> None:
    """Check one tensor's stated datatype and shape. Raises InvalidInput."""
    if datatype != spec.datatype:
        came = shown(str(datatype) if isinstance(datatype, str) else datatype)
        raise InvalidInput(f"input '{name}' has datatype {came}, expected {spec.datatype}")
    if not _fits(tuple(shape), spec.shape):
        raise InvalidInput(f"input '{name}' has shape {shown(list(shape))}, expected {list(spec.shape)}")
    if 0 in shape:  # also because no data would then bear witness of the other sizes
        remedy = "zero rows; send at least one row" if shape[0] == 0 else "each dimension needs at least 1 element"
        raise InvalidInput(f"input '{name}' has shape {shown(list(shape))}: {remedy}")


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    if shape[1:] == expected[1:] and len(shape) and expected[0] == -1:
        return True
    return len(shape) == len(expected) and all(
        size == fixed or fixed == -1 for size, fixed in zip(shape, expected, strict=True)
    )


def check_together(rows: Rows, inputs: Mapping[str, TensorSpec]) -> int:
    """Check what concerns all tensors at once, after `check_tensor` for each; return the number of rows.

    A number for all rows (`TensorSpec.is_shared`) becomes a view that repeats it for each row.
    Raises InvalidInput for a missing input, different leading dimensions and values out of range.
    """
    if len(rows) != len(inputs):
        missing = [name for name in inputs if name not in rows]
        raise InvalidInput(f"missing input {', '.join(map(repr, missing))}; the graph takes {_listed(inputs)}")
    count, shared = -1, []
    for name, array in rows.items():
        spec = inputs[name]
        if spec.is_shared:
            shared.append(name)
        elif count != len(array) and count != -1:
            raise InvalidInput(_unequal(rows))
        else:
            count = len(array)
        if (spec.minimum is not None or spec.maximum is not None) and spec.datatype != Datatype.BYTES:
            _check_range(name, array, spec)
    if count == -1:
        return 1
    for name in shared:
        rows[name] = np.broadcast_to(rows[name], (count,))
    return count


def check_outputs(requested: Sequence[RequestedOutput], outputs: Mapping[str, TensorSpec]) -> None:
    """Check that each requested output exists and is asked for once. Raises InvalidInput."""
    names = [name for name, _ in requested]
    for name in names:
        if name not in outputs:
            raise InvalidInput(f"unknown output {shown(name)}; the graph gives {_listed(outputs)}")
    if len(set(names)) != len(names):
        raise InvalidInput(f"an output is requested twice: {shown(names)}")


def _check_range(name: str, array: np.ndarray, spec: TensorSpec) -> None:
    if not array.size:
        return
    unsigned = array.dtype.kind == "u"
    # Written as `not …`, so that NaN fails.
    if spec.minimum is not None and not (unsigned and spec.minimum <= 0) and not array.min() >= spec.minimum:
        outside, limit = ~(array >= spec.minimum), f"smallest value accepted is {spec.minimum:g}"
    elif spec.maximum is not None and not array.max() <= spec.maximum:
        outside, limit = ~(array <= spec.maximum), f"largest value accepted is {spec.maximum:g}"
    else:
        return
    where = tuple(int(axis) for axis in np.unravel_index(int(outside.argmax()), array.shape))
    raise InvalidInput(f"input '{name}' holds {array[where]} at {list(where)}; the {limit}")


def _listed(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{name} ({spec})" for name, spec in specs.items())


def _unequal(rows: Mapping[str, np.ndarray]) -> str:
    counts = ", ".join(f"{name} {len(array)}" for name, array in rows.items())
    return f"inputs have different numbers of rows ({counts}); all need the same leading dimension"
