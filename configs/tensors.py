"""Datatypes, tensor specifications and signatures: the types that flow along a graph's edges."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

import ml_dtypes
import numpy as np
from pydantic import Field, model_validator

from configs.frozen import Frozen


class Datatype(StrEnum):
    """Tensor datatypes of the Open Inference Protocol v2, "Tensor Data Types"."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype; BYTES is `object` (each element a `bytes`), BF16 is ml_dtypes' bfloat16."""
        return _DTYPES[self]

    @classmethod
    def of(cls, array: np.ndarray) -> "Datatype":
        """The datatype of an array; `S`, `U` and `object` arrays are BYTES. Raises TypeError for others."""
        if array.dtype.kind in "OSU":
            return cls.BYTES
        try:
            return _BY_DTYPE[array.dtype]
        except KeyError:
            raise TypeError(f"no v2 datatype for NumPy dtype {array.dtype}") from None


_DTYPES: dict[Datatype, np.dtype[Any]] = {
    Datatype.BOOL: np.dtype(bool),
    Datatype.UINT8: np.dtype(np.uint8),
    Datatype.UINT16: np.dtype(np.uint16),
    Datatype.UINT32: np.dtype(np.uint32),
    Datatype.UINT64: np.dtype(np.uint64),
    Datatype.INT8: np.dtype(np.int8),
    Datatype.INT16: np.dtype(np.int16),
    Datatype.INT32: np.dtype(np.int32),
    Datatype.INT64: np.dtype(np.int64),
    Datatype.FP16: np.dtype(np.float16),
    Datatype.BF16: np.dtype(ml_dtypes.bfloat16),
    Datatype.FP32: np.dtype(np.float32),
    Datatype.FP64: np.dtype(np.float64),
    Datatype.BYTES: np.dtype(object),
}
_BY_DTYPE = {dtype: datatype for datatype, dtype in _DTYPES.items()}

Rows = dict[str, np.ndarray]
"""Named arrays with a common leading dimension: what flows between nodes."""

_COMPACT = re.compile(r"^\s*(?P<datatype>[A-Za-z0-9]+)\s*\[(?P<shape>\s*-?[0-9]+\s*(,\s*-?[0-9]+\s*)*)\]\s*$")


class TensorSpec(Frozen):
    """Datatype and shape of one tensor; -1 is a dimension of any size, the first dimension is the rows.

    An input of a graph may also have the shape `[1]`: one number for all rows of a request, which nodes get once a row.
    Also accepted: the text `"FP32[-1, 10]"` and the pair `("FP32", [-1, 10])`.
    """

    datatype: Datatype = Field(description="Datatype as in the Open Inference Protocol, e.g. FP32 or BYTES.")
    shape: tuple[int, ...] = Field(
        min_length=1, description="Dimensions; the first is the rows and must be -1, others -1 or a fixed size."
    )
    minimum: float | None = Field(None, description="Smallest value accepted in a request.")
    maximum: float | None = Field(None, description="Largest value accepted in a request.")
    example: Any = Field(None, description="Example value of one row (nested lists), shown in OpenAPI.")
    description: str = Field("", description="What the tensor holds, shown in OpenAPI.")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, str):
            match = _COMPACT.match(value)
            if match is None:
                raise ValueError(f'{value!r} is not a tensor; write it like "FP32[-1, 10]"')
            sizes = [int(size) for size in match["shape"].split(",")]
            return {"datatype": match["datatype"], "shape": sizes}
        if isinstance(value, tuple | list) and len(value) == 2:
            return {"datatype": value[0], "shape": value[1]}
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(size < -1 or size == 0 for size in self.shape):
            raise ValueError(f"shape {list(self.shape)}: each dimension is -1 (any) or at least 1")
        return self

    @property
    def is_shared(self) -> bool:
        """Whether it is one number for all rows of a request. No text: its copies would be larger than the request."""
        return self.shape == (1,) and self.datatype is not Datatype.BYTES

    def fits(self, other: "TensorSpec") -> bool:
        """Whether a tensor of `other` can be passed where this one is expected."""
        if self.datatype != other.datatype or len(self.shape) != len(other.shape):
            return False
        return all(-1 in pair or pair[0] == pair[1] for pair in zip(self.shape, other.shape, strict=True))

    def __str__(self) -> str:
        return f"{self.datatype}[{', '.join(map(str, self.shape))}]"


class Signature(Frozen):
    """Named inputs and outputs of a node, a model or a graph. None: not known before it is loaded."""

    inputs: Mapping[str, TensorSpec] | None = None
    outputs: Mapping[str, TensorSpec] | None = None
