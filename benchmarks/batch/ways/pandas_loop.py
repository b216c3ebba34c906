"""A loop over files with pandas in threads. Arguments: workload, folders of the data and the output, threads."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.batch.data import KEY
from benchmarks.batch.ways.predictors import PREDICTORS, Predict
from benchmarks.batch.workloads import BATCH_ROWS, WORKLOADS, Workload


def score(file: Path, output: Path, workload: Workload, predict: Predict) -> None:
    """One file in, one out."""
    frame = pd.read_parquet(file)
    rows = np.stack(frame[workload.column].to_list()).reshape(-1, *workload.shape)
    found = [predict(rows[start : start + BATCH_ROWS]) for start in range(0, len(rows), BATCH_ROWS)]
    scored = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    columns = {name: list(values) if values.ndim > 1 else values for name, values in scored.items()}
    pd.DataFrame({KEY: frame[KEY], **columns}).to_parquet(output / file.name)


def main(workload: str, data: str, output: str, threads: str) -> None:
    chosen, predict = WORKLOADS[workload], PREDICTORS[workload]()
    Path(output).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(int(threads)) as pool:
        files = sorted(Path(data).glob("*.parquet"))
        for _ in pool.map(lambda file: score(file, Path(output), chosen, predict), files):
            pass  # raises what a thread raised


if __name__ == "__main__":
    main(*sys.argv[1:])
