"""Open Inference Protocol v2 in FastAPI, written by hand: as much of it as tritonclient.http needs for these models."""

import json
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response

from benchmarks.online.servers import v2_networks

HEADER_LENGTH = "Inference-Header-Content-Length"

router = APIRouter()


@router.post("/v2/models/{model}/infer")
async def infer(model: str, request: Request) -> Any:
    body, header_length = await request.body(), request.headers.get(HEADER_LENGTH)
    at = len(body) if header_length is None else int(header_length)
    [tensor] = json.loads(body[:at])["inputs"]
    data = np.array(tensor["data"], np.float32) if header_length is None else np.frombuffer(body, np.float32, offset=at)
    name, y = v2_networks.run(model, data.reshape(tensor["shape"]))
    output: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": y.shape}
    if header_length is None:
        return {"model_name": model, "outputs": [{**output, "data": y.ravel().tolist()}]}
    output["parameters"] = {"binary_data_size": y.nbytes}
    header = json.dumps({"model_name": model, "outputs": [output]}).encode()
    headers = {HEADER_LENGTH: str(len(header))}
    return Response(header + y.tobytes(), headers=headers, media_type="application/octet-stream")
