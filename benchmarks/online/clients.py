"""Runs the load generator that a workload asks for, in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.online.ask import HOST, Ports
from benchmarks.online.workloads import Client, Post, Workload
from benchmarks.online.wrk import Load, parse, run_wrk

RunClient = Callable[[int, int], Load]
"""Requests in flight and seconds → what was counted. Raises RuntimeError if the load generator fails."""

_START_S = 120


def prepare(workload: Workload, post: Post, ports: Ports, folder: Path) -> RunClient:
    """The workload's client; what it sends lies in files in `folder` until the next is prepared."""
    match workload.client:
        case Client.WRK:
            body = folder / "body"
            body.write_bytes(post.body)
            return lambda connections, seconds: run_wrk(f"http://{HOST}:{ports.http}", post, body, connections, seconds)
        case Client.GRPC:
            message = folder / "message"
            message.write_bytes(post.body)
            return _ours("grpc_load", f"{HOST}:{ports.grpc}", post.path, str(message))
        case Client.TRITON_HTTP | Client.TRITON_GRPC:
            arrays = folder / "arrays.npz"
            np.savez(arrays, **{"x": workload.x, **workload.answer})  # type: ignore[arg-type]
            over_http = workload.client is Client.TRITON_HTTP
            address = f"{HOST}:{ports.http if over_http else ports.grpc}"
            form = "binary" if workload.binary else "json"
            protocol = "http" if over_http else "grpc"
            return _ours("triton_load", protocol, address, workload.graph, form, str(arrays))


def _ours(module: str, *arguments: str) -> RunClient:
    command = [sys.executable, "-m", f"benchmarks.online.{module}", *arguments]

    def run(connections: int, seconds: int) -> Load:
        words = [*command, str(connections), str(seconds)]
        root = Path(__file__).parents[2]
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + _START_S, check=False, cwd=root)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} failed with {done.returncode}: {done.stdout}{done.stderr}")
        return parse(done.stdout)

    return run
