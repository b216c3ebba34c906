"""What Millrace aims at, beside FastAPI in the same run."""

CONNECTIONS = 32
RATIO = {"tiny": 1.0, "batchable": 4.0, "pipeline": 4.0, "tensor-json": 4.0, "tensor-binary": 1.0}
"""Workload → least requests per second at `CONNECTIONS`, as a multiple of FastAPI's."""
ABOVE_MS = 0.3
"""Most milliseconds of p50 above FastAPI's at one connection."""
