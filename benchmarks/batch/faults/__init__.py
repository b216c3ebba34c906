"""What becomes of a job when something dies: `python -m benchmarks.batch.faults`."""
