"""The benchmark of batch jobs: `python -m benchmarks.batch`."""
