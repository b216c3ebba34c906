"""A load generator of unmodified tritonclients: threads, each with a client of its own.

`python -m benchmarks.online.triton_load http|grpc HOST:PORT MODEL json|binary ARRAYS.npz THREADS SECONDS` prints one
line of JSON. The file holds the input `x` and the outputs that must come back.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
from tritonclient.utils import InferenceServerException

from benchmarks.online.answers import check_answer
from benchmarks.online.tally import line


class Asker:
    """One client with its one request."""

    def __init__(self, protocol: str, address: str, model: str, form: str, arrays: dict[str, np.ndarray]) -> None:
        triton = import_module(f"tritonclient.{protocol}")
        self._client = triton.InferenceServerClient(address)
        self._model, self._answer = model, {name: value for name, value in arrays.items() if name != "x"}
        tensor = triton.InferInput("x", list(arrays["x"].shape), "FP32")
        over_grpc = protocol == "grpc"  # has no other form than bytes
        how = {} if over_grpc else {"binary_data": form == "binary"}
        tensor.set_data_from_numpy(arrays["x"], **how)
        self._inputs = [tensor]
        self._outputs = [triton.InferRequestedOutput(name, **how) for name in self._answer]

    def ask(self) -> dict[str, np.ndarray]:
        """Ask once, read the outputs as arrays. Raises InferenceServerException."""
        result = self._client.infer(self._model, self._inputs, outputs=self._outputs)
        return {name: result.as_numpy(name) for name in self._answer}

    def check(self) -> None:
        """Ask once; raises ValueError for a wrong answer."""
        check_answer(self._model, self.ask(), self._answer)

    def close(self) -> None:
        self._client.close()


def run(asker_of: Callable[[], Asker], threads: int, seconds: float) -> str:
    """Keep one request a thread in flight; the line to print."""
    latencies: list[float] = []
    errors: Counter[str] = Counter()
    ready = threading.Barrier(threads + 1)

    def repeat() -> None:
        try:
            asker = asker_of()  # here: a client for HTTP belongs to the thread that made it
            asker.check()
        except BaseException:
            ready.abort()  # ends the others too
            raise
        ready.wait()
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            try:
                asker.ask()
            except InferenceServerException as error:
                errors[error.status() or "error"] += 1
            else:
                latencies.append(time.perf_counter() - begun)
        asker.close()

    workers = [threading.Thread(target=repeat, daemon=True) for _ in range(threads)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    return line(latencies, time.perf_counter() - start, errors)


def main(protocol: str, address: str, model: str, form: str, arrays: str, threads: str, seconds: str) -> None:
    with np.load(Path(arrays)) as file:
        held = dict(file)
    print(run(lambda: Asker(protocol, address, model, form, held), int(threads), float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
