"""A Python handle, synchronous and asynchronous, from a driver. Arguments: Ray's address, rows.npz, answers.npz."""

import asyncio
import logging
import sys

import numpy as np
import pytest
import ray

from configs.errors import InvalidInput, NodeError, NotFound
from deployments.connect import connect


def refuses(error: type[Exception], graph: str, **inputs: np.ndarray) -> None:
    """The error arrives as it was raised."""
    with pytest.raises(error) as raised:
        connect(graph).predict(**inputs)
    assert "Traceback" not in str(raised.value)


async def ask_async(calls: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    client = connect("digits")
    return [await client.predict_async(image=rows) for rows in calls.values()]


def main(address: str, rows_file: str, answers_file: str) -> None:
    calls = dict(np.load(rows_file))
    ray.init(address, logging_level=logging.WARNING, log_to_driver=False)
    client = connect("digits")
    answers = {}
    for name, found in (
        ("sync", [client.predict(image=rows) for rows in calls.values()]),
        ("async", asyncio.run(ask_async(calls))),
    ):
        for output in ("label", "score"):
            answers[f"{name}_{output}"] = np.concatenate([answer[output] for answer in found])
    np.savez(answers_file, **answers)
    refuses(InvalidInput, "digits", image=np.zeros((1, 8, 7), np.uint8))
    refuses(NodeError, "failing", x=np.zeros((1, 2), np.float32))
    refuses(NotFound, "nowhere", x=np.zeros((1, 2), np.float32))


if __name__ == "__main__":
    main(*sys.argv[1:])
