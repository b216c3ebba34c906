"""Metrics of a pool of models, handed to Ray's each second."""

import asyncio
import logging
from dataclasses import astuple, replace

from configs.log import LOGGER
from deployments.recorder import FLUSH_PERIOD_S, ray_metric
from graphs.many import ManyModels
from monitoring.names import POOL, POOL_BYTES, POOL_EVENTS, POOL_MODELS
from servables.pooled import Counts

logger = logging.getLogger(LOGGER)


class PoolMetrics:
    """Exported by the stage of a `models` node."""

    def __init__(self, graph: str, node: str, models: ManyModels) -> None:
        self._labels = {"graph": graph, "node": node}
        self._models = models
        self._told = Counts()
        self._ray = {metric.name: ray_metric(metric) for metric in POOL}

    async def follow(self) -> None:
        """Export again and again, until cancelled."""
        while True:
            try:
                self.export()
            except Exception:  # whatever Ray's metrics raise, models go on
                logger.exception("some figures of node %s are not exported", self._labels["node"])
            await asyncio.sleep(FLUSH_PERIOD_S)

    def export(self) -> None:
        """Count what happened since the last call."""
        now = replace(self._models.counts)
        for name, value, before in zip(vars(now), astuple(now), astuple(self._told), strict=True):
            if value > before:
                self._ray[POOL_EVENTS.name].inc(value - before, {**self._labels, "event": name})
        self._told = now
        self._ray[POOL_MODELS.name].set(len(self._models.loaded), self._labels)
        taken = self._models.taken
        for memory, value in (("host", taken.host), ("gpu", taken.gpu)):
            self._ray[POOL_BYTES.name].set(value, {**self._labels, "memory": memory})
