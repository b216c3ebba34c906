"""What is sent, and what must come back: one request of each workload, for Millrace and for its peers."""

import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.online import networks, steps

TOLERANCE = 1e-5
"""Largest difference between two servers' answers: rows are batched differently, so sums are ordered differently."""
HEADER_LENGTH = "Inference-Header-Content-Length"

Arrays = dict[str, np.ndarray]


class Post(NamedTuple):
    """One request."""

    path: str
    body: bytes
    headers: dict[str, str]


class Workload(NamedTuple):
    """One request, its answer, and how Millrace is asked for it."""

    name: str
    x: np.ndarray
    """Input: FP32, one row."""
    answer: Arrays
    """Outputs, computed here."""
    graph: str
    """Millrace's graph."""
    binary: bool
    """The tensor travels as bytes: to Millrace in the v2 protocol, to the peers as the whole body."""

    def post(self, millrace: bool) -> Post:
        """The request for Millrace, or for a peer."""
        path = f"/{self.graph}" if millrace else f"/{self.name}"
        if not self.binary:
            body = json.dumps({"x": self.x.tolist()}, separators=(",", ":")).encode()
            return Post(path, body, {"Content-Type": "application/json"})
        if not millrace:
            return Post(path, self.x.tobytes(), {"Content-Type": "application/octet-stream"})
        header = _v2_header(self.x)
        headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(header))}
        return Post(f"/v2/models/{self.graph}/infer", header + self.x.tobytes(), headers)

    def check(self, body: bytes, header_length: str | None) -> None:
        """Raise ValueError unless this is the right answer, within `TOLERANCE`; labels must be equal.

        Args:
            body: what came back.
            header_length: the value of its header `HEADER_LENGTH`, if it has one.
        """
        given = _decode(body, header_length)
        for name, expected in self.answer.items():
            if name not in given or given[name].shape != expected.shape:
                raise ValueError(f"{self.name}: output {name} is missing or has another shape in {body[:200]!r}")
            difference = float(np.abs(given[name] - expected).max())
            if not difference <= TOLERANCE:
                raise ValueError(f"{self.name}: output {name} is off by {difference}, more than {TOLERANCE}")


def make_workloads() -> dict[str, Workload]:
    """All workloads by name."""
    random = np.random.default_rng(0)
    small = random.random((1, 4), np.float32)
    row = random.random((1, 512), np.float32)
    image = random.random((1, 3, 224, 224), np.float32)
    members = [networks.batchable(0), networks.batchable(1)]
    scaled = steps.normalise(row)
    label, score = steps.top_k(np.mean([_run(member, scaled) for member in members], axis=0))
    mean = {"mean": steps.mean(image)}
    workloads = [
        Workload("tiny", small, {"y": _run(networks.tiny(), small)}, "tiny", False),
        Workload("batchable", row, {"y": _run(members[0], row)}, "batchable", False),
        Workload("pipeline", row, {"label": label, "score": score}, "pipeline", False),
        Workload("tensor-json", image, mean, "tensor", False),
        Workload("tensor-binary", image, mean, "tensor", True),
    ]
    return {workload.name: workload for workload in workloads}


def _run(network: Callable[[torch.Tensor], torch.Tensor], x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        y: np.ndarray = network(torch.from_numpy(x)).numpy()
    return y


def _v2_header(x: np.ndarray) -> bytes:
    """The JSON in front of the tensor; the answer is wanted as bytes too (v2, "Binary Tensor Data Extension")."""
    tensor = {"name": "x", "datatype": "FP32", "shape": x.shape, "parameters": {"binary_data_size": x.nbytes}}
    return json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()


def _decode(body: bytes, header_length: str | None) -> Arrays:
    if header_length is None:
        return {name: np.asarray(value) for name, value in json.loads(body).items()}
    at = int(header_length)
    given: Arrays = {}
    for output in json.loads(body[:at])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        given[output["name"]] = np.frombuffer(body[at : at + size], np.float32).reshape(output["shape"])
        at += size
    return given
