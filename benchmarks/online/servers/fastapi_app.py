"""The workloads as one FastAPI application: the plain way to serve a model in one process."""

from typing import Any

import numpy as np
import torch
from fastapi import FastAPI, Request

from benchmarks.online import networks, steps
from benchmarks.online.servers import fastapi_v2

torch.set_num_threads(1)

tiny_network = networks.tiny()
members = [networks.batchable(0), networks.batchable(1)]
app = FastAPI()


@app.post("/tiny")
async def tiny(request: Request) -> dict[str, Any]:
    x = np.asarray((await request.json())["x"], np.float32)
    return {"y": _run(tiny_network, x).tolist()}


@app.post("/batchable")
async def batchable(request: Request) -> dict[str, Any]:
    x = np.asarray((await request.json())["x"], np.float32)
    return {"y": _run(members[0], x).tolist()}


@app.post("/pipeline")
async def pipeline(request: Request) -> dict[str, Any]:
    x = steps.normalise(np.asarray((await request.json())["x"], np.float32))
    label, score = steps.top_k(np.mean([_run(member, x) for member in members], axis=0))
    return {"label": label.tolist(), "score": score.tolist()}


@app.post("/tensor-json")
async def tensor_json(request: Request) -> dict[str, Any]:
    x = np.asarray((await request.json())["x"], np.float32)
    return {"mean": steps.mean(x).tolist()}


@app.post("/tensor-binary")
async def tensor_binary(request: Request) -> dict[str, Any]:
    x = np.frombuffer(await request.body(), np.float32).reshape(-1, 3, 224, 224)
    return {"mean": steps.mean(x).tolist()}


def _run(network: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        y: np.ndarray = network(torch.from_numpy(x)).numpy()
    return y


app.include_router(fastapi_v2.router)
