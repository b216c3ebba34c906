"""Small nodes for graphs in tests."""

import asyncio
import ctypes
import inspect
import os
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from configs.errors import InvalidInput

CALLS: list[tuple[str, int, str]] = []
"""(node, rows, thread) of each call of a recording node."""


class Add:
    """Adds a number; records its calls."""

    inputs: ClassVar = {"x": ("FP32", [-1, 2])}
    outputs: ClassVar = {"y": ("FP32", [-1, 2])}

    def __init__(self, amount: float = 1.0, name: str = "add", sleep_s: float = 0.0) -> None:
        self._amount, self._name, self._sleep_s = amount, name, sleep_s

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        CALLS.append((self._name, len(x), threading.current_thread().name))
        if self._sleep_s:
            time.sleep(self._sleep_s)
        return {"y": x + np.float32(self._amount)}


class SlowToLoad(Add):
    """Takes its time to be made."""

    def __init__(self, seconds: float) -> None:
        time.sleep(seconds)
        super().__init__()


async def double(x: np.ndarray) -> dict[str, np.ndarray]:
    """A coroutine node."""
    CALLS.append(("double", len(x), threading.current_thread().name))
    await asyncio.sleep(0)
    return {"y": x * np.float32(2)}


double.outputs = {"y": "FP32[-1, 2]"}  # type: ignore[attr-defined]


def positive(x: np.ndarray) -> np.ndarray:
    """A switch's predicate: is the first value above zero?"""
    return x[:, 0] > 0


def refuse_negative(x: np.ndarray) -> dict[str, np.ndarray]:
    """Refuses a call that holds a negative value."""
    if (x < 0).any():
        raise InvalidInput("negative value")
    return {"y": x}


def broken(x: np.ndarray) -> dict[str, np.ndarray]:
    """Fails always."""
    raise RuntimeError("out of order")


def wrong_rows(x: np.ndarray) -> dict[str, np.ndarray]:
    """Loses a row."""
    return {"y": x[1:]}


def not_a_dict(x: np.ndarray) -> np.ndarray:
    """Returns an array instead of named arrays."""
    return x


def spread(members: list[np.ndarray]) -> dict[str, np.ndarray]:
    """A custom ensemble: largest minus smallest member."""
    stacked = np.stack(members)
    return {"spread": stacked.max(axis=0) - stacked.min(axis=0)}


def identity(**values: np.ndarray) -> dict[str, np.ndarray]:
    """Gives back what it gets, whatever the datatypes."""
    return values


def brightness(image: np.ndarray) -> dict[str, np.ndarray]:
    """Mean of each image's pixels, in grey levels 0…255."""
    return {"brightness": image.mean(axis=(1, 2, 3), dtype=np.float64)}


brightness.inputs = {"image": "UINT8[-1, 8, 8, 1]"}  # type: ignore[attr-defined]
brightness.outputs = {"brightness": "FP64[-1]"}  # type: ignore[attr-defined]


class Gated:
    """Blocks its thread while the files named in `gate` exist, refuses negative `x`, ends its process for 666, and
    numbers its calls. What it computes it writes into `<gate>.computed`.

    A test holds a gate, sends what it wants to see queued, and opens the gate: no sleeping, no guessing.
    """

    inputs: ClassVar = {"gate": ("BYTES", [-1]), "x": ("FP32", [-1])}
    outputs: ClassVar = {"call": ("INT64", [-1]), "rows": ("INT64", [-1]), "pid": ("INT64", [-1])}

    def __init__(self, longest_s: float = 60) -> None:
        self._calls, self._longest_s = 0, longest_s

    def __call__(self, gate: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        self._calls += 1
        deadline = time.monotonic() + self._longest_s
        while any(map(os.path.exists, {*gate})) and time.monotonic() < deadline:
            time.sleep(0.005)
        for name in {*gate}:
            with open(name + b".computed", "a") as file:
                file.write("".join(f"{value:g} " for value in x[gate == name]))
        if (x < 0).any():
            raise InvalidInput("negative value")
        if (x == 666).any():
            ctypes.string_at(0)
        return {name: np.full(len(x), value) for name, value in self._told(len(x)).items()}

    def _told(self, rows: int) -> dict[str, int]:
        return {"call": self._calls, "rows": rows, "pid": os.getpid()}


class Numbered:
    """Numbers its calls."""

    inputs: ClassVar = {"x": ("FP32", [-1, 2])}
    outputs: ClassVar = {"call": ("INT64", [-1])}

    def __init__(self) -> None:
        self._calls = 0

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        self._calls += 1
        return {"call": np.full(len(x), self._calls)}


class RunningSum:
    """Adds up the rows of each sequence."""

    inputs: ClassVar = {"x": ("FP32", [-1, 2])}
    outputs: ClassVar = {"sum": ("FP32", [-1]), "pid": ("INT64", [-1])}

    def __call__(self, x: np.ndarray, states: np.ndarray) -> dict[str, np.ndarray]:
        for row, state in zip(x, states, strict=True):
            state["sum"] = state.get("sum", 0) + row.sum()
        return {"sum": np.array([state["sum"] for state in states], np.float32), "pid": np.full(len(x), os.getpid())}


class WhereAmI:
    """Tells its process and the GPUs that Ray has given to it."""

    inputs: ClassVar = {"x": ("FP32", [-1, 2])}
    outputs: ClassVar = {"pid": ("INT64", [-1]), "gpus": ("BYTES", [-1])}

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").encode()
        return {"pid": np.full(len(x), os.getpid()), "gpus": np.array([visible] * len(x), object)}


class SumColumns:
    """A model over concatenated members."""

    inputs: ClassVar = {"x": "FP32[-1, -1]"}
    outputs: ClassVar = {"sum": "FP32[-1, 1]"}

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"sum": x.sum(axis=1, keepdims=True)}


def leave(x: np.ndarray) -> dict[str, np.ndarray]:
    """Ends the process, or tries to, for negative values."""
    if (x < 0).any():
        raise SystemExit(1)
    return {"y": x}


async def leave_async(x: np.ndarray) -> dict[str, np.ndarray]:
    """The same as a coroutine."""
    return leave(x)


class Hooked:
    """Cannot be warmed up on the event loop."""

    async def warmup(self) -> None:
        """A coroutine, which nobody awaits."""

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        return {"y": x}


_WAYS = ("express.py", "grpc_express.py", "replica.py")


async def way(x: np.ndarray) -> dict[str, np.ndarray]:
    """The way that a request came, from the frames that await this coroutine; and its id as Serve knows it."""
    from ray.serve.context import _get_serve_request_context

    files = [Path(frame.filename).name for frame in inspect.stack()]
    called_by = next((name for name in files if name in _WAYS), "")
    words = {"called_by": called_by, "request_id": _get_serve_request_context().request_id}
    return {name: np.array([word.encode()] * len(x), object) for name, word in words.items()}


way.outputs = {"called_by": "BYTES[-1]", "request_id": "BYTES[-1]"}  # type: ignore[attr-defined]
