"""What a load generator of ours counted, printed as load.lua prints it for wrk."""

import json
from collections.abc import Mapping, Sequence


def line(latencies_s: Sequence[float], seconds: float, errors: Mapping[str, int]) -> str:
    """One line of JSON.

    Args:
        latencies_s: of each call that was answered rightly, in any order.
        seconds: how long calls were made.
        errors: kind → how many calls ended otherwise.
    """
    ordered = sorted(latencies_s)
    counted = {"requests": len(ordered), "seconds": seconds, "errors": dict(errors)}
    return json.dumps({**counted, "p50_ms": _percentile_ms(ordered, 50), "p99_ms": _percentile_ms(ordered, 99)})


def _percentile_ms(ordered: Sequence[float], percent: int) -> float:
    return 1e3 * ordered[(len(ordered) - 1) * percent // 100] if ordered else 0.0
