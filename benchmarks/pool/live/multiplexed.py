"""The same models by `@serve.multiplexed`, one application a family, written as Ray's documentation shows it."""

import asyncio
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import Request

from benchmarks.pool.live.models import FAMILIES, FIT, file_of

OPTIONS: dict[str, Any] = {
    "ray_actor_options": {"num_cpus": 1},
    # Serve's default of 5 would let requests wait outside for the loads of others.
    "max_ongoing_requests": 1000,
}
COUNTS = "counts"
"""Last part of the path of what it tells of itself."""


class Loaded:
    """A model that tells how large it is as long as it lives."""

    def __init__(self, family: str, path: Path) -> None:
        self.predict = FAMILIES[family].load(path)
        self.size = path.stat().st_size


@serve.deployment(**OPTIONS)
class Tenants:
    """Args: whether models are loaded in a thread; Ray's documentation loads them on the event loop."""

    def __init__(self, family: str, folder: str, threads: bool) -> None:
        self.family, self.folder, self.threads = family, Path(folder), threads
        self.loads = 0
        self.alive: weakref.WeakSet[Loaded] = weakref.WeakSet()

    @serve.multiplexed(max_num_models_per_replica=FIT)
    async def load(self, model: str) -> Loaded:
        path = file_of(FAMILIES[self.family], self.folder, model)
        if self.threads:
            loaded = await asyncio.to_thread(Loaded, self.family, path)
        else:
            loaded = Loaded(self.family, path)
        self.loads += 1
        self.alive.add(loaded)
        return loaded

    async def __call__(self, request: Request) -> dict[str, Any]:
        if request.url.path.endswith(COUNTS):
            return {"loads": self.loads, "bytes": sum(loaded.size for loaded in self.alive)}
        x = np.asarray((await request.json())["x"], np.float32)
        loaded = await self.load(serve.get_multiplexed_model_id())
        return {"y": loaded.predict(x).tolist()}


def build(args: dict[str, Any]) -> serve.Application:
    """Args: those of `Tenants`."""
    return Tenants.bind(args["family"], args["folder"], args["threads"])
