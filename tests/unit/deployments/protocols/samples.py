"""Signatures, requests and random tensors that the codec tests share."""

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st

from configs.tensors import Datatype, Signature, TensorSpec
from deployments.protocols.request import InferRequest

NUMBERS = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


def signature(**inputs: str | dict[str, Any]) -> Signature:
    """A graph that gives back what it takes."""
    specs = {name: TensorSpec.model_validate(spec) for name, spec in inputs.items()}
    return Signature(inputs=specs, outputs=specs)


FLOATS = signature(x="FP32[-1, 2]")


def tensor(name: str = "x", datatype: str = "FP32", shape: Any = (1, 2), **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def asking(**fields: Any) -> InferRequest:
    """A request as `encode` functions need it."""
    blank = {"model": "m", "version": "", "id": "", "rows": {}, "parameters": {}, "outputs": None}
    return InferRequest(**{**blank, "binary_output": False, **fields})


def random_tensor(datatype: Datatype, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Any values the datatype has; floats over all finite bit patterns."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if datatype is Datatype.BYTES:
        texts = ["", "plain", "žluťoučký", "\U0001f40e", '"\\\n', "\0"]
        return np.array([texts[i].encode() for i in rng.integers(0, len(texts), count)], dtype=object).reshape(shape)
    if datatype is Datatype.BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    values = np.frombuffer(rng.bytes(count * datatype.dtype.itemsize), datatype.dtype).copy()
    if datatype.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):  # random bits may be a signalling NaN
            values[~np.isfinite(values)] = 0
    return values.reshape(shape)


@st.composite
def tensors(draw: st.DrawFn, datatypes: list[Datatype] = list(Datatype)) -> tuple[Datatype, np.ndarray]:  # noqa: B006
    datatype = draw(st.sampled_from(datatypes))
    inner = draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (draw(st.integers(1, 3)), *inner)
    return datatype, random_tensor(datatype, shape, draw(st.integers(0, 2**32 - 1)))


def signature_of_array(datatype: Datatype, array: np.ndarray) -> Signature:
    return signature(x={"datatype": datatype, "shape": (-1,) * array.ndim})


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal to the bit."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return left.tolist() == right.tolist() if left.dtype == object else left.tobytes() == right.tobytes()
