"""The nodes that are served: they sleep, so their capacity does not depend on what else the machine does."""

import os
import random
import time
from typing import ClassVar

import numpy as np


class Steady:
    """A call of *n* rows takes `fixed_s` + *n* x `each_s`."""

    inputs: ClassVar = {"x": "FP32[-1]"}
    outputs: ClassVar = {"y": "FP32[-1]"}

    def __init__(self, fixed_s: float, each_s: float) -> None:
        self._fixed_s, self._each_s = fixed_s, each_s

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(self._fixed_s + self._each_s * len(x))
        return {"y": x}


class Stalling:
    """A call takes `call_s`, and `slower` times as long with chance `stalled`.

    Args:
        tally: a file that grows by a byte with each row, in whichever replica.
    """

    inputs: ClassVar = {"x": "FP32[-1]"}
    outputs: ClassVar = {"y": "FP32[-1]"}

    def __init__(self, call_s: float, stalled: float, slower: float, tally: str) -> None:
        self._call_s, self._stalled, self._slower = call_s, stalled, slower
        self._tally = os.open(tally, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        os.write(self._tally, b"." * len(x))
        time.sleep(self._call_s * (self._slower if random.random() < self._stalled else 1))
        return {"y": x}
