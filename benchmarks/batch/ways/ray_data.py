"""A job on Ray Data by hand. Arguments: workload, folder of the data, folder for the output, processes."""

import logging
import sys
from pathlib import Path

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext

from benchmarks.batch.data import KEY
from benchmarks.batch.ways.predictors import PREDICTORS
from benchmarks.batch.workloads import BATCH_ROWS, WORKLOADS

SPARE_CPUS = 2
"""Booked by what reads and writes, as in Millrace: without them they would wait for the models for ever."""
BLOCK_BYTES = 32 << 20


class Score:
    """A process of the pool."""

    def __init__(self, workload: str) -> None:
        self._column = WORKLOADS[workload].column
        self._predict = PREDICTORS[workload]()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {KEY: batch[KEY], **self._predict(batch[self._column])}


def main(workload: str, data: str, output: str, processes: str) -> None:
    count = int(processes)
    ray.init(num_cpus=count + SPARE_CPUS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    # A block a file: by itself Ray puts so many small rows into two or three blocks, and nothing streams.
    context.target_max_block_size = BLOCK_BYTES
    rows = ray.data.read_parquet(data, override_num_blocks=len(list(Path(data).iterdir())))
    scored = rows.map_batches(
        Score,
        fn_constructor_args=(workload,),
        batch_size=BATCH_ROWS,
        num_cpus=1,
        compute=ActorPoolStrategy(size=count),
    )
    scored.write_parquet(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
