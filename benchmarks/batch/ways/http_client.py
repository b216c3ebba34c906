"""A client of a running server: binary v2 requests over kept-alive connections, several at the same time.

Arguments: workload, folder of the data, folder for the output, port, requests in flight.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.batch.data import KEY, flat
from benchmarks.batch.workloads import BATCH_ROWS, WORKLOADS, Workload
from benchmarks.online.v2 import HEADER_LENGTH

HOST = "127.0.0.1"
_DTYPES = {"FP32": np.float32, "INT64": np.int64}


class Client:
    """One connection for each thread that asks."""

    def __init__(self, workload: Workload, port: int) -> None:
        self._workload = workload
        self._port = port
        self._threads = local()

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name. Raises RuntimeError for an answer that is none."""
        tensor: dict[str, Any] = {"name": self._workload.column, "datatype": self._workload.datatype}
        tensor |= {"shape": rows.shape, "parameters": {"binary_data_size": rows.nbytes}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        connection = self._connection()
        headers = {HEADER_LENGTH: str(len(head)), "content-type": "application/octet-stream"}
        connection.request("POST", f"/v2/models/{self._workload.name}/infer", head + rows.tobytes(), headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"HTTP {answer.status}: {body[:500]!r}")
        return _outputs(body, int(answer.headers[HEADER_LENGTH]))

    def _connection(self) -> HTTPConnection:
        if not hasattr(self._threads, "connection"):
            self._threads.connection = HTTPConnection(HOST, self._port, timeout=120)
        connection: HTTPConnection = self._threads.connection
        return connection


def _outputs(body: bytes, at: int) -> dict[str, np.ndarray]:
    found = {}
    for output in json.loads(body[:at])["outputs"]:
        size, shape = output["parameters"]["binary_data_size"], output["shape"]
        found[output["name"]] = np.frombuffer(body[at : at + size], _DTYPES[output["datatype"]]).reshape(shape)
        at += size
    return found


def write(file: Path, keys: pa.ChunkedArray, answers: list[dict[str, np.ndarray]]) -> None:
    """The answers to one file's rows."""
    outputs = {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
    columns = {name: pa.FixedShapeTensorArray.from_numpy_ndarray(values) for name, values in outputs.items()}
    pq.write_table(pa.table({KEY: keys, **columns}), file)


def ask(file: Path, workload: Workload, client: Client, pool: ThreadPoolExecutor, output: Path) -> None:
    """Ask for the rows of one file, and write the answers."""
    table = pq.read_table(file)
    rows = flat(table[workload.column]).reshape(-1, *workload.shape)
    batches = [rows[start : start + BATCH_ROWS] for start in range(0, len(rows), BATCH_ROWS)]
    write(output / file.name, table[KEY], list(pool.map(client, batches)))


def main(name: str, data: str, output: str, port: str, in_flight: str) -> None:
    workload, folder = WORKLOADS[name], Path(output)
    client = Client(workload, int(port))
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(Path(data).glob("*.parquet"))
    # Two files at a time: while the last answers to one are awaited, those to the next are asked for.
    with ThreadPoolExecutor(int(in_flight)) as pool, ThreadPoolExecutor(2) as beside:
        for _ in beside.map(lambda file: ask(file, workload, client, pool, folder), files):
            pass  # raises what a thread raised


if __name__ == "__main__":
    main(*sys.argv[1:])
