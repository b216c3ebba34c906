"""A fuzz of everything that reads a caller's bytes: see `python -m benchmarks.fuzz --help`."""
