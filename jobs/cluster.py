"""The Ray that a job runs on: one of its own on this machine, or a cluster that is there."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from configs.errors import ConfigError
from servables.files import one_line


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
