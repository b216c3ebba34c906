"""How much memory this process has had at most."""

import resource
import sys

_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes of what `ru_maxrss` counts."""


def peak_mb() -> float:
    """Most resident memory so far, in MB (1e6 bytes), with what it touched of memory that processes share."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 1e6, 1)
