"""Metric names and the breakdown of a request's latency. Knows nothing of Ray."""
