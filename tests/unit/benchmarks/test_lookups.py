"""The stores that are compared give the same answers."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.lookups.rows import expected, key
from benchmarks.lookups.stores import STORES, missing


@pytest.mark.parametrize("name", [name for name in STORES if name not in missing()])
def test_every_store_answers_every_key(tmp_path: Path, name: str) -> None:
    STORES[name].write(tmp_path, 500)
    ask = STORES[name].open(tmp_path)
    numbers = np.random.default_rng(0).permutation(550)
    for part in (numbers[:1], numbers):
        answer = ask([key(number) for number in part.tolist()])
        for output, right in expected(part, 500).items():
            np.testing.assert_array_equal(answer[output], right)
