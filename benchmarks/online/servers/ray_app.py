"""The workloads as Ray Serve applications, written by hand as Ray's documentation shows it.

One application a workload; the pipeline composes its two models by handles; `@serve.batch` where batching pays.
"""

import asyncio
from typing import Any

import numpy as np
import torch
from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request

from benchmarks.online import networks, steps

OPTIONS: dict[str, Any] = {
    # All replicas must fit on a machine with two cores.
    "ray_actor_options": {"num_cpus": 0.1},
    # Serve's default of 5 would also be the largest batch.
    "max_ongoing_requests": 1000,
}
ROWS = 64
"""Largest batch, as in Millrace."""
WINDOW_S = 0.005


class Model:
    """A network that takes single rows and batches them."""

    def __init__(self, member: int) -> None:
        torch.set_num_threads(1)
        self.network = networks.batchable(member)

    @serve.batch(max_batch_size=ROWS, batch_wait_timeout_s=WINDOW_S)
    async def run(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            return list(self.network(torch.from_numpy(np.stack(rows))).numpy())


@serve.deployment(**OPTIONS)
class Tiny:
    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.network = networks.tiny()

    async def __call__(self, request: Request) -> dict[str, Any]:
        x = np.asarray((await request.json())["x"], np.float32)
        with torch.inference_mode():
            return {"y": self.network(torch.from_numpy(x)).numpy().tolist()}


@serve.deployment(**OPTIONS)
class Batchable(Model):
    async def __call__(self, request: Request) -> dict[str, Any]:
        x = np.asarray((await request.json())["x"], np.float32)
        return {"y": [row.tolist() for row in await asyncio.gather(*map(self.run, x))]}


@serve.deployment(**OPTIONS)
class Member(Model):
    async def __call__(self, row: np.ndarray) -> np.ndarray:
        y: np.ndarray = await self.run(row)
        return y


@serve.deployment(**OPTIONS)
class Pipeline:
    def __init__(self, first: DeploymentHandle, second: DeploymentHandle) -> None:
        self.members = [first, second]

    async def __call__(self, request: Request) -> dict[str, Any]:
        x = steps.normalise(np.asarray((await request.json())["x"], np.float32))
        rows = await asyncio.gather(*(member.remote(row) for member in self.members for row in x))
        scores = np.mean(np.reshape(rows, (len(self.members), len(x), -1)), axis=0)
        label, score = steps.top_k(scores)
        return {"label": label.tolist(), "score": score.tolist()}


@serve.deployment(**OPTIONS)
class TensorJson:
    async def __call__(self, request: Request) -> dict[str, Any]:
        x = np.asarray((await request.json())["x"], np.float32)
        return {"mean": steps.mean(x).tolist()}


@serve.deployment(**OPTIONS)
class TensorBinary:
    async def __call__(self, request: Request) -> dict[str, Any]:
        x = np.frombuffer(await request.body(), np.float32).reshape(-1, 3, 224, 224)
        return {"mean": steps.mean(x).tolist()}


tiny = Tiny.bind()
batchable = Batchable.bind(0)
pipeline = Pipeline.bind(Member.options(name="first").bind(0), Member.options(name="second").bind(1))
tensor_json = TensorJson.bind()
tensor_binary = TensorBinary.bind()
