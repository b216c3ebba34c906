"""The Ray that a job runs on: one of its own on this machine, or a cluster that is there; and what failed there."""

import logging
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from configs.errors import ConfigError, MillraceError, NodeError, reason
from jobs.chain import Link
from servables.files import one_line

_LEAST_CPUS = 0.1
"""That a process books."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Within this context Ray is there; one of the job's own ends with it.

    Args:
        address: of a cluster, as `auto` or `10.0.0.5:6379`; None: a new one of all CPUs and GPUs of this machine.

    Raises:
        ConfigError: no cluster answers there.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters of it comes as an exception, too
    if address is None:
        # Unset, it depends on whether some earlier Ray left a token in the home folder.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(
            address=address or "local", include_dashboard=False if address is None else None, log_to_driver=False,
            logging_level=logging.ERROR, configure_logging=True,
        )  # fmt: skip
    except Exception as error:  # Ray raises bare ones
        what = "Ray did not start here" if address is None else f"--address {address}: no Ray cluster answers there"
        raise ConfigError(f"{what}: {one_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def has_gpu() -> bool:
    """Of the cluster; before Ray is there, of this machine."""
    if ray.is_initialized():
        return bool(ray.cluster_resources().get("GPU", 0))
    return any(Path("/dev").glob("nvidia[0-9]*"))


def fitted(links: Sequence[Link]) -> list[Link]:
    """Links that Ray has room for: what is not placed books less where there are few CPUs.

    Raises ConfigError if Ray has less than the fewest processes book even so: they would wait for ever.
    """
    has = ray.cluster_resources()
    cpus, gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
    placed = sum(link.cpus * link.replicas.min for link in links if link.placed)
    others = sum(link.replicas.min for link in links if not link.placed)
    if placed + others * _LEAST_CPUS > cpus:
        raise ConfigError(
            f"the graph's placed nodes book {placed:g} CPUs, {others} other processes need {_LEAST_CPUS:g} each, and "
            f"Ray has {cpus:g}; give the nodes fewer `cpus` or replicas (another --profile does), or more CPUs"
        )
    if (booked := sum(link.gpus * link.replicas.min for link in links)) > gpus:
        raise ConfigError(
            f"the graph's nodes book {booked:g} GPUs, and Ray has {gpus:g}; take a --profile without, as `cpu`, give "
            "the nodes less, or the cluster more GPUs"
        )
    share = math.floor((cpus - placed) / max(others, 1) * 100) / 100
    return [link if link.placed else replace(link, cpus=min(link.cpus, share)) for link in links]


def own_error(error: ray.exceptions.RayError) -> MillraceError:
    """The error that our own code raised in a process of a job, without Ray's words around it."""
    cause: Any = error
    while cause is not None:
        inner = getattr(cause, "cause", None) or cause.__cause__  # Ray's wrapper is of its cause's class, too
        if isinstance(cause, MillraceError) and not isinstance(cause, ray.exceptions.RayError):
            return type(cause)(cause.message)
        cause = inner
    if isinstance(error, ray.exceptions.RayActorError):
        return NodeError(
            "a process of the job died again each time that it was started over: a node ends its process, or memory is "
            "short (try smaller --part-rows or --batch-rows); --resume goes on with the parts that are left"
        )
    return NodeError(f"the job failed: {reason([str(error)])}")
