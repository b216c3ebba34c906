"""How long to wait before a step that failed is tried again."""

FIRST_S = 1.0
MOST_S = 300.0
"""As Kubernetes waits at most between two starts of a container that crashes."""


def delay_s(failures: int, random: float) -> float:
    """Seconds to wait: between half of and all of `FIRST_S` doubled for each failure before, `MOST_S` at most.

    "Equal jitter" of M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015: what failed together, as
    when a disk was away, is not tried again together, nor at once.

    Args:
        failures: how many there were before this one.
        random: from 0 to 1.
    """
    most = min(MOST_S, FIRST_S * 2.0 ** min(failures, 32))
    return most * (1 + random) / 2
