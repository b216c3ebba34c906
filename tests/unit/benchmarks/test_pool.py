"""200 models of which 20 fit, on a clock that jumps."""

import pytest

from benchmarks.pool.__main__ import workload
from benchmarks.pool.lru import lru
from benchmarks.pool.simulated import simulate


@pytest.mark.parametrize("spread", [0.0, 1.2])
def test_all_is_right_within_the_limit_and_loaded_models_never_wait(spread: float) -> None:
    asked, gaps_s, sizes, limit = workload(spread, 1500)
    run = simulate(asked, gaps_s, sizes, limit)
    assert (run.wrong, run.failed) == (0, 0)
    assert run.most_bytes <= limit
    assert max(run.warm_s) == 0
    assert run.hit_rate > 0.85 * lru(asked, sizes, limit, by_bytes=True).hit_rate


def test_sizes_that_are_not_known_before_the_first_load_are_made_good_soon() -> None:
    asked, gaps_s, sizes, limit = workload(1.2, 1500)
    run = simulate(asked, gaps_s, sizes, limit, files=0.5)
    assert (run.wrong, run.failed) == (0, 0)
    assert run.most_bytes < 1.5 * limit
