"""What is sent, and what must come back: one request of each workload, for Millrace and for its peers."""

import json
from collections.abc import Callable, Iterable
from enum import Enum, StrEnum
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.online import networks, steps
from benchmarks.online.answers import Arrays, check_answer
from benchmarks.online.v2 import HEADER_LENGTH, MODEL_INFER, grpc_answer, grpc_infer, http_answer, http_infer


class Protocol(StrEnum):
    """What a server must speak to take part."""

    OWN = "own"
    """HTTP in whatever form suits the server: JSON or a body of bytes."""
    V2 = "v2"
    """Open Inference Protocol v2 over HTTP."""
    GRPC = "grpc"
    """The same over gRPC."""


class Client(Enum):
    """What asks: its protocol, and how many requests it keeps in flight at most."""

    WRK = Protocol.OWN, 10_000
    GRPC = Protocol.GRPC, 32
    TRITON_HTTP = Protocol.V2, 4
    TRITON_GRPC = Protocol.GRPC, 4

    def __init__(self, protocol: Protocol, most: int) -> None:
        self.protocol = protocol
        self.most = most


class Post(NamedTuple):
    """One request. Over gRPC the path is the method's, and the body the message."""

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
    """The tensor travels as bytes: over HTTP to Millrace in the v2 protocol, to the peers as the whole body."""
    client: Client = Client.WRK
    headers: tuple[tuple[str, str], ...] = ()
    """Further ones, where the body is JSON."""

    def connections(self, counts: Iterable[int]) -> list[int]:
        """Those of these numbers of requests in flight that the client can; in place of larger ones its most."""
        return list(dict.fromkeys(min(count, self.client.most) for count in counts))

    def post(self, millrace: bool) -> Post:
        """The request for Millrace, or for a peer."""
        match self.client.protocol:
            case Protocol.GRPC:
                return Post(MODEL_INFER, grpc_infer(self.graph, self.x), {})
            case Protocol.V2:
                return self._v2_post()
            case Protocol.OWN:
                return self._v2_post() if millrace and self.binary else self._own_post(millrace)

    def _own_post(self, millrace: bool) -> Post:
        path = f"/{self.graph}" if millrace else f"/{self.name}"
        if not self.binary:
            body = json.dumps({"x": self.x.tolist()}, separators=(",", ":")).encode()
            return Post(path, body, {"Content-Type": "application/json", **dict(self.headers)})
        return Post(path, self.x.tobytes(), {"Content-Type": "application/octet-stream"})

    def _v2_post(self) -> Post:
        body, header_length = http_infer(self.x, self.binary)
        headers = {"Content-Type": "application/octet-stream" if self.binary else "application/json"}
        if header_length is not None:
            headers[HEADER_LENGTH] = str(header_length)
        return Post(f"/v2/models/{self.graph}/infer", body, headers)

    def check(self, body: bytes, header_length: str | None) -> None:
        """Raise ValueError unless this is the right answer, within `answers.TOLERANCE`; labels must be equal.

        Args:
            body: what came back; over gRPC the message.
            header_length: the value of its header `HEADER_LENGTH`, if it has one.
        """
        check_answer(self.name, self._decode(body, header_length), self.answer)

    def _decode(self, body: bytes, header_length: str | None) -> Arrays:
        if self.client.protocol is Protocol.GRPC:
            return grpc_answer(body)
        if self.client.protocol is Protocol.V2 or header_length is not None:
            return http_answer(body, header_length)
        return {name: np.asarray(value) for name, value in json.loads(body).items()}


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
    y = {"y": _run(networks.tiny(), small)}
    workloads = [
        Workload("tiny", small, y, "tiny", False),
        Workload("batchable", row, {"y": _run(members[0], row)}, "batchable", False),
        Workload("pipeline", row, {"label": label, "score": score}, "pipeline", False),
        Workload("tensor-json", image, mean, "tensor", False),
        Workload("tensor-binary", image, mean, "tensor", True),
        Workload("grpc-tiny", small, y, "tiny", True, Client.GRPC),
        Workload("grpc-tensor", image, mean, "tensor", True, Client.GRPC),
        Workload("triton-http-tiny", small, y, "tiny", False, Client.TRITON_HTTP),
        Workload("triton-http-tensor", image, mean, "tensor", True, Client.TRITON_HTTP),
        Workload("triton-grpc-tiny", small, y, "tiny", True, Client.TRITON_GRPC),
        Workload("triton-grpc-tensor", image, mean, "tensor", True, Client.TRITON_GRPC),
    ]
    return {workload.name: workload for workload in workloads}


def _run(network: Callable[[torch.Tensor], torch.Tensor], x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        y: np.ndarray = network(torch.from_numpy(x)).numpy()
    return y
