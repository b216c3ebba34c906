"""Metrics of versions' lives, read from the state: whatever moved a version, it is counted, and once."""

import logging

from configs.log import LOGGER
from deployments.recorder import ray_metric
from monitoring.names import CONTROL, ROUTED_VERSION, VERSION_TRANSITIONS
from rollouts.store import StateStore

logger = logging.getLogger(LOGGER)


class VersionMetrics:
    """Exported by control. What happened before it is made was counted by the control before."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._last = store.last_transition()
        self._ray = {metric.name: ray_metric(metric) for metric in CONTROL}

    def export(self) -> None:
        """Count what happened since the last call, and tell which versions have the traffic. Blocks.

        Raises Unavailable: the state cannot be read; nothing is lost by calling again later.
        """
        last, transitions = self._store.transitions_after(self._last)
        routes = self._store.routes()
        try:
            for each in transitions:
                labels = {"servable": each.key.servable, "phase": each.after.value}
                self._ray[VERSION_TRANSITIONS.name].inc(1, labels)
            for servable, key in routes.versions.items():
                self._ray[ROUTED_VERSION.name].set(key.number, {"servable": servable})
        except Exception:  # whatever Ray's metrics raise, versions go on
            logger.exception("some transitions of versions are not counted")
        self._last = last
